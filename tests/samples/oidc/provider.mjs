// A real OpenID provider for tests: node provider.mjs FOLDER REDIRECT_URI, where FOLDER has oidc-provider installed. Prints its issuer.
// Whoever signs in as NAME is NAME@example.org; ada is in fleet-admins, bob in acme-dev, everybody else in no group.
import { createServer } from "node:http";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, redirect] = process.argv.slice(2);
const { Provider } = await import(pathToFileURL(join(folder, "node_modules/oidc-provider/lib/index.js")));
const groups = { ada: ["staff", "fleet-admins"], bob: ["acme-dev"] };
const server = createServer();
server.listen(0, "127.0.0.1", () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const client = { client_id: "amas", client_secret: "the-client-s-own-secret", redirect_uris: [redirect] };
  const cli = {
    client_id: "amas-cli",
    token_endpoint_auth_method: "none",
    application_type: "native",
    grant_types: ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
    redirect_uris: ["http://127.0.0.1/"],
  };
  const provider = new Provider(issuer, {
    clients: [client, cli],
    features: { deviceFlow: { enabled: true }, revocation: { enabled: true } },
    claims: { openid: ["sub"], email: ["email", "email_verified"], groups: ["groups"] },
    pkce: { required: () => true },
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({ sub: id, email: `${id}@example.org`, email_verified: true, groups: groups[id] ?? [] }),
    }),
  });
  server.on("request", provider.callback());
  console.log(issuer);
});
process.stdin.on("end", () => process.exit(0)).resume(); // with whoever started it
