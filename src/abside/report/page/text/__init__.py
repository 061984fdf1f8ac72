"""The report as text: a terminal's, or plain lines when nobody looks."""
