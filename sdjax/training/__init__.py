"""One step, many devices, many processes; what training costs and what it logs."""
