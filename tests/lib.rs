//! Nothing here: every case is a test, in one binary, under `cases/`.
