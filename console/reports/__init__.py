"""Reports that leave the service: one experiment, or all of them over some days.

Each is a view object made from what the API answers, then written as HTML, Markdown or a picture.
Files stand alone: nothing in them is loaded from elsewhere.
"""
