"""The few calls to the API server that the parts need: one Protocol, one transport, a reflector, and Leases as
registers.
"""
