import { testClient } from "../tests/follow.mjs";

testClient(import.meta.dirname, "follow.mjs", ["node", "follow.mjs"]);
