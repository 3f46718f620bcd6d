/** How likely is each match right, and which are the same tune? musicai/search/confidence.py and data/splits.py. */

const SHINGLE = 7, OVERLAP = 0.25, NEIGHBOURS = 4; // as in splits.py

function logistic(x) {
  return 1 / (1 + Math.exp(-Math.min(Math.max(x, -30), 30)));
}

/** Python: measure_margin. */
function measureMargin(score, others, kind) {
  const some = others.slice(0, kind === "sound" ? 1 : 4);
  return score - (some.length ? some.reduce((a, b) => a + b, 0) / some.length : 0);
}

/** Python: features. */
function features(score, margin, notes, size, kind) {
  const above = Math.max(margin, 0), length = Math.max(notes, 1), many = Math.log(Math.max(size, 1));
  if (kind === "sound") {
    const cost = 0.01 + Math.max(-score, 0);
    return [1, Math.log(cost), Math.log((cost + above) / cost), Math.log(length), many];
  }
  return [1, score / length, score, above, Math.log1p(above), Math.log(length), many];
}

/** The probability that the best match is right. Python: probability. */
export function probability(fitted, score, margin, notes, size, kind) {
  const { coefficients } = fitted[kind];
  return logistic(features(score, margin, notes, size, kind).reduce((sum, x, i) => sum + x * coefficients[i], 0));
}

/** The probability below which a match is marked as unlikely. Python: threshold. */
export function threshold(fitted, kind, notes) {
  const [constant, slope] = fitted[kind].threshold;
  return logistic(constant + slope * Math.log(Math.max(notes, 1)));
}

/**
 * Say how likely each match is right: by its margin over the next tunes, and if none before it is. Python: _judge.
 *
 * @param {object[]} matches best first, with `score` and the pitches of the whole line
 * @param {{kind: string, length: number}} query
 * @param {number} size lines that were searched
 */
export function judge(fitted, matches, query, size) {
  const tunes = groupDuplicates(matches.map((match) => match.pitches));
  let left = 1, before = 1;
  return matches.map((match, i) => {
    const others = matches.slice(i).filter((_, j) => tunes[i + j] !== tunes[i]).map((other) => other.score);
    const margin = measureMargin(match.score, others, query.kind);
    before = Math.min(before, left * probability(fitted, match.score, margin, query.length, size, query.kind));
    if (!tunes.includes(tunes[i], i + 1)) left -= before;
    return { ...match, probability: before, likely: before >= threshold(fitted, query.kind, query.length) };
  });
}

/**
 * The group of each melody, so that copies, transpositions and near-copies share one. Python: group_duplicates.
 *
 * @param {ArrayLike<number>[]} melodies pitches
 * @returns {number[]}
 */
export function groupDuplicates(melodies) {
  const moves = melodies.map(movesOf), keys = moves.map(String);
  const groups = keys.map((key) => keys.indexOf(key)), firsts = [...new Set(groups)];
  const sets = firsts.map((i) => shingles(moves[i]));
  for (const [a, b] of candidates(sets)) {
    const small = Math.min(sets[a].size, sets[b].size), shared = [...sets[a]].filter((run) => sets[b].has(run)).length;
    if (shared >= OVERLAP * small) merge(groups, groups[firsts[a]], groups[firsts[b]]);
  }
  return groups;
}

function merge(groups, one, two) {
  groups.forEach((group, i) => {
    if (group === two) groups[i] = one;
  });
}

/** The intervals but for repeated notes. */
function movesOf(pitches) {
  return Array.from(pitches, (pitch, i) => (i ? pitch - pitches[i - 1] : 0)).filter((interval) => interval);
}

/** Every run of SHINGLE intervals; a shorter melody has just one. */
function shingles(moves) {
  const runs = new Set();
  for (let i = 0; i < Math.max(1, moves.length - SHINGLE + 1); i++) runs.add(moves.slice(i, i + SHINGLE).join());
  return runs;
}

/** Pairs of melodies that share enough runs; the owners of a run are compared with a few neighbours only. */
function candidates(sets) {
  const owners = new Map(), shared = new Map();
  sets.forEach((set, i) => set.forEach((run) => owners.set(run, [...(owners.get(run) ?? []), i])));
  for (const some of owners.values()) {
    some.forEach((a, i) => {
      const pairs = some.slice(i + 1, i + 1 + NEIGHBOURS).map((b) => `${a} ${b}`);
      for (const pair of pairs) shared.set(pair, (shared.get(pair) ?? 0) + 1);
    });
  }
  const pairs = [...shared].map(([pair, count]) => [...pair.split(" ").map(Number), count]);
  return pairs.filter(([a, b, n]) => n >= Math.max(1, (OVERLAP / 4) * Math.min(sets[a].size, sets[b].size)));
}
