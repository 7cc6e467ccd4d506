-- Shared by the scripts that do less when Redis is full. `script.rs` makes a copy of them for then, with `true`.
local is_full = false
