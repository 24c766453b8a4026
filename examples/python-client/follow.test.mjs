import { testClient } from "../tests/follow.mjs";

testClient(import.meta.dirname, "follow.py", ["python", "follow.py"]);
