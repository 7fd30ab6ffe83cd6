// Nothing but the owner of the precompiled header that every test shares.
