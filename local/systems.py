"""The systems that the local run exercises, in the order in which it shows them."""

from local.etl_exercise import EtlSystem
from local.exercise import System
from local.ingestion_exercise import IngestionSystem
from local.metadata_exercise import MetadataSystem
from local.pets_exercise import PetSystem

SYSTEMS: tuple[System, ...] = (EtlSystem(), MetadataSystem(), PetSystem(), IngestionSystem())
