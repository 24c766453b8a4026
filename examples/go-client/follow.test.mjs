import { testClient } from "../tests/follow.mjs";

testClient(import.meta.dirname, "main.go", [`${process.env.EXAMPLES_TARGET}/go-client`]);
