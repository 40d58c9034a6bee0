"""What pages, reports and their JSON twins show, as plain objects. Pure; knows no HTTP."""
