"""Polyphony: the average negative log-likelihood in nats per frame on the standard test splits, with the literature's.

    python benchmarks/polyphony.py
    python benchmarks/polyphony.py --data MuseData.mat --model runs/polyphony-MuseData/MuseData

Every frame is predicted from all frames before it in its piece, the first from none. The figure is for the joint
distribution of all 88 keys, averaged over all frames of all pieces, and is exact. Our models are the shipped
checkpoints, whose cards tell how they were made; they were chosen on the validation split. They are not told the mode,
except in the row that says so, which is not to be compared with the others: there the test piece's own mode is given.
"keys alone" only knows how often each key is down in the training split; "as before" also knows whether the key was
down in the previous frame. "without the look-up" is the same network, trained in the same way with the look-up's
answers set to zero (it is not shipped, so its figure is quoted from that run). One Nottingham test tune is in the
training split, as published. What the models write is judged by `benchmarks/polyphony_music.py`.

Where the literature's figures come from:
    RNN, RNN-RBM, RNN-NADE      Boulanger-Lewandowski, Bengio and Vincent 2012 (arXiv:1206.6392), table 1
    GRU, TCN                    Bai, Kolter and Koltun 2018 (arXiv:1803.01271), table 1
    SRNN                        Fraccaro et al. 2016 (arXiv:1605.07571): a bound, the true figure may be lower
    NASMC                       Gu, Ghahramani and Turner 2015 (arXiv:1506.03338): a recurrent network with latent
                                variables, whose likelihood is estimated by sampling
    DBN-LSTM                    Vohra et al. 2015, as cited by Bai, Kolter and Koltun: likewise estimated
In the RNN, GRU and TCN, the keys of a frame are independent given the past, hence their larger figures; the others, and
ours, are joint distributions. All use the same splits. They were not all trained in the same way, not even those of one
paper, so the difference of two rows isn't the effect of one idea.
"""

import argparse

import torch
from torch.nn import functional as F

from musicai.data import JSBChorales, Nottingham, PianoRolls
from musicai.pretrained import PretrainedError
from musicai.wavenet import RollWaveNet, nats_per_frame
from musicai.wavenet.rolls import mode_in_c

LITERATURE = {
    "JSB Chorales": {"RNN": 8.71, "GRU": 8.43, "TCN": 8.10, "RNN-RBM": 6.27, "RNN-NADE": 5.56, "SRNN (bound)": 4.74}
    | {"NASMC (estimate)": 3.99, "DBN-LSTM (estimate)": 3.47},
    "Nottingham": {"RNN": 4.46, "TCN": 3.07, "RNN-RBM": 2.39, "RNN-NADE": 2.31, "DBN-LSTM (estimate)": 1.32},
}
WITHOUT = {"JSB Chorales": 4.835}  # the ablation, as measured once: valid 4.815
SHIPPED = {"JSB Chorales": (JSBChorales, "wavenet-chorales"), "Nottingham": (Nottingham, "wavenet-nottingham")}


def counting(train: list[torch.Tensor], test: list[torch.Tensor], after: bool) -> float:
    """Nats per frame for independent keys; with `after`, each given the same key in the previous frame."""
    down, seen = torch.zeros(2, 88), torch.zeros(2, 88)
    for roll in train:
        state = before(roll) * after
        for s in (0, 1):
            down[s] += (roll * (state == s)).sum(1)
            seen[s] += (state == s).sum(1)
    logits = ((down + 0.5) / (seen - down + 0.5)).log()
    total = 0.0
    for roll in test:
        guess = torch.where(before(roll) * after > 0, logits[1][:, None], logits[0][:, None])
        total += F.binary_cross_entropy_with_logits(guess, roll, reduction="sum").item()
    return total / sum(roll.shape[1] for roll in test)


def before(roll: torch.Tensor) -> torch.Tensor:
    """The frame before each frame, with silence before the first."""
    return torch.cat([torch.zeros(88, 1), roll], 1)[:, : roll.shape[1]]


def table(name: str, sets: dict[str, list[torch.Tensor]], model: str) -> None:
    """Print one set's rows, the highest first."""
    frames = {split: sum(roll.shape[1] for roll in rolls) for split, rolls in sets.items()}
    rows = {**LITERATURE.get(name, {})}
    rows["keys alone"] = counting(sets["train"], sets["test"], after=False)
    rows["as before"] = counting(sets["train"], sets["test"], after=True)
    print(f"\n{name}: {len(sets['test'])} pieces, {frames['test']:,} frames in the test split")
    try:
        network = RollWaveNet.from_pretrained(model)
        ours = f"WaveNet ({model})"
        rows[ours] = nats_per_frame(network, sets["test"])
        if name in WITHOUT:
            rows["the same without the look-up"] = WITHOUT[name]
        if name in LITERATURE:
            told = [network.log_prob(roll, mode_in_c(roll)) for roll in sets["test"]]
            rows["the same, told the mode"] = -torch.cat(told).mean().item()
        print(f"  validation split: {nats_per_frame(network, sets['valid']):.3f}; ", end="")
        print(f"{sum(p.numel() for p in network.parameters()):,} parameters")
    except PretrainedError as error:
        print(f"  no model: {error}")
    for row, score in sorted(rows.items(), key=lambda item: -item[1]):
        print(f"  {row:<40} {round(score, 3):>7}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="a .mat file; by default, the two shipped sets")
    parser.add_argument("--model", help="the folder of the model for it")
    args = parser.parse_args()
    if bool(args.data) != bool(args.model):
        parser.error("give --data and --model together")
    print("Average negative log-likelihood, nats per frame; lower is better")
    for name, (dataset, model) in ({args.data: (args.data, args.model)} if args.data else SHIPPED).items():
        sets = {}
        for split in ("train", "valid", "test"):
            rolls = PianoRolls(dataset, split) if args.data else dataset(split)
            sets[split] = [item["roll"] for item in rolls]
        table(name, sets, model)


if __name__ == "__main__":
    main()
