//! The promises of the journal, each with the case that tries to break it.

mod cases {
    mod damage;
    mod faults;
    mod kill;
    mod life;
    mod space;
    mod support;
}
