//! Which of many intervals a point lies in.
