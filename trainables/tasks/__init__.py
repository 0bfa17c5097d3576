"""The tasks (classification, landmarks, faces): criterion and metrics of each."""
