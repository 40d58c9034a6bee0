// unleash-server on a database of its own; nobody logs in, one token reads the frontend API.
import { start } from "unleash-server";

const [port, databasePort, secret] = process.argv.slice(2);
const token = { type: "frontend", environment: "development", projects: ["*"] };

await start({
  db: {
    driver: "postgres",
    user: "unleash",
    password: "",
    host: "127.0.0.1",
    port: Number(databasePort),
    database: "unleash",
    ssl: false,
  },
  server: { port: Number(port), host: "127.0.0.1" },
  versionCheck: { enable: false },
  telemetry: false,
  logLevel: "warn",
  authentication: {
    type: "none",
    initApiTokens: [{ ...token, tokenName: "benchmark", secret, alias: null }],
  },
  frontendApi: { refreshIntervalInMs: 1000 },
});
