"""What the store holds: opened, looked over, its people and its history, before anything is counted."""
