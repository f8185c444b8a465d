"""The app: settings in, stacks out."""

import aws_provider  # noqa: F401  (first: it works before CDKTF is imported, or not at all)

# isort: split
import os
import sys
from pathlib import Path

from cdktf import App

from ingestion_stack import IngestionStack
from pet_detector_stack import PetDetectorStack
from settings import SettingsError, load, read_context
from state_backend_stack import StateBackendStack
from tap_stack import TapStack

HERE = Path(__file__).parent


def main() -> None:
    try:
        settings = load(read_context(HERE / "cdktf.json"), os.environ)
    except SettingsError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    app = App()
    StateBackendStack(app, "state-backend", settings=settings.state_backend)
    TapStack(app, "tap", settings=settings.tap)
    PetDetectorStack(app, "pet-detector", settings=settings.pet_detector)
    IngestionStack(app, "ingestion", settings=settings.ingestion)
    app.synth()


if __name__ == "__main__":
    main()
