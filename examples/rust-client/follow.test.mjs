import { testClient } from "../tests/follow.mjs";

const PROGRAM = `${process.env.EXAMPLES_TARGET}/debug/fanfare-rust-client`;

testClient(import.meta.dirname, "src/main.rs", [PROGRAM]);
