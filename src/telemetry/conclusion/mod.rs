//! From the document of `/status` to what people are told: one source of words for the page, the
//! terminal and the document itself. Pure.

mod halt;
