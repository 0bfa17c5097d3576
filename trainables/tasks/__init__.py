"""What networks are trained for: criterion and metrics of classification, landmarks, faces."""
