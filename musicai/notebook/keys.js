// Piano keys, for keyboard.js and sing.js: names, and a row of buttons from pitch `low` to `high`, both of them white.
const NAMES = ["C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B"];
const keyName = p => NAMES[p % 12] + (Math.floor(p / 12) - 1), isBlack = p => NAMES[p % 12].length > 1;
const drawKeys = (board, low, high, plays = () => true) => {
  const pitches = [...Array(high - low + 1).keys()].map(i => low + i), white = pitches.filter(p => !isBlack(p));
  const width = 100 / white.length;
  board.style.position = "relative";
  board.innerHTML = pitches.map(p => {
    const left = width * white.filter(q => q < p).length;
    const look = isBlack(p)
      ? `left:${left - 0.3 * width}%;width:${0.6 * width}%;height:62%;background:#222;z-index:2`
      : `left:${left}%;width:${width}%;height:100%;background:#fff;color:#333;z-index:1`;
    const state = plays(p) ? `style="cursor:pointer;` : `disabled style="opacity:0.3;`;
    return `<button type="button" data-p="${p}" aria-label="${keyName(p)}" ${state}position:absolute;top:0;padding:0;` +
      `border:1px solid #555;border-radius:0 0 4px 4px;font:10px sans-serif;${look}"></button>`;
  }).join("");
};
