#!/usr/bin/env python3
"""Makes sample.csv: an hour of requests in the format of the Azure LLM inference traces, from a seed.

    ./make_sample.py > sample.csv

Every number is drawn here; none is taken from a trace. Arrivals are a Poisson process whose rate rises to a peak in
the middle of the hour and comes in bursts now and then; prompts are lognormal with a few kinds of application, and so
are answers. Shapes are those of chat traffic in general: most prompts under 2,000 tokens, most answers under 500.
"""
import math
import random

SEED = 20260101
REQUESTS = 2000
START = "2026-01-01 09:"  # what the clock shows is no time of any real request

KINDS = [  # share, median prompt, spread, median answer, spread
    (0.45, 420, 0.5, 90, 0.5),    # short questions
    (0.35, 1100, 0.4, 260, 0.4),  # conversations
    (0.17, 2600, 0.3, 190, 0.6),  # documents
    (0.03, 6000, 0.4, 420, 0.3),  # long ones
]


def tokens(dice, median, spread, most):
    return max(1, min(most, round(median * math.exp(dice.gauss(0, spread)))))


def arrivals(dice):
    """Seconds within the hour: thinned by a rate of peak and bursts."""
    bursts = [dice.uniform(300, 3300) for _ in range(6)]
    while True:
        second = dice.uniform(0, 3600)
        rate = 0.35 + 0.35 * math.exp(-(((second - 1800) / 900) ** 2))
        rate += sum(0.3 for burst in bursts if 0 <= second - burst < 20)
        if dice.random() < rate:
            yield second


def main():
    dice = random.Random(SEED)
    source = arrivals(dice)
    times = sorted(next(source) for _ in range(REQUESTS))
    print("TIMESTAMP,ContextTokens,GeneratedTokens")
    for at in times:
        draw, kind = dice.random(), KINDS[-1]
        for candidate in KINDS:
            if draw < candidate[0]:
                kind = candidate
                break
            draw -= candidate[0]
        _, prompt, prompt_spread, answer, answer_spread = kind
        minute, second = divmod(at, 60)
        print(f"{START}{int(minute):02}:{second:010.7f},"
              f"{tokens(dice, prompt, prompt_spread, 16000)},{tokens(dice, answer, answer_spread, 1000)}")


if __name__ == "__main__":
    main()
