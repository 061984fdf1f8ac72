"""What a reviewer reads: findings and differences as Markdown."""
