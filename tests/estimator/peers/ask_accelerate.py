"""`accelerate estimate-memory`, through the function behind the command: it reads the config and builds the model on
meta.

Its column "Training using Adam" is for all weights in a batch of one; of its dtypes `float16` is the one for 16-bit
weights.
"""

from __future__ import annotations

from accelerate.commands.estimate import estimate_command_parser, gather_data

from tests.estimator.peers.asking import DoesNotSay, Row, answer


def ask(row: Row) -> float:
    arguments = estimate_command_parser().parse_args([row["model"], "--dtypes", "float16"])
    [[_, _, _, training]] = gather_data(arguments)
    if row["method"] != "full":
        raise DoesNotSay("nothing of LoRA or quantized training")
    return max(training.values())  # as the command prints it


if __name__ == "__main__":
    answer("accelerate", ask, depends_on=lambda row: (row["model"], row["method"]))
