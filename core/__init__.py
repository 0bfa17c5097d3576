"""What every other package stands on: settings, errors, metrics, seeds, files and storage. Imports none of ours."""
