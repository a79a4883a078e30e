//! Hand in a token, get the session back.
