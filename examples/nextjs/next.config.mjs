// With CLOAKROOM_URL set, the browser's calls to /api/auth/* go to cloakroom first; without it this app answers them all itself.
//
// Cloakroom asks this same app for what it does not know, and marks what it asks with `Via: 1.1 cloakroom`. `missing` lets those
// requests through to NextAuth: without it they would go round in a circle.
//
// Next evaluates rewrites when it builds, so CLOAKROOM_URL belongs to `next build`; `next start` does not read it again.

/** @type {import("next").NextConfig} */
export default {
  async rewrites() {
    const cloakroom = process.env.CLOAKROOM_URL;
    if (!cloakroom) return [];
    return {
      beforeFiles: [
        {
          source: "/api/auth/:path*",
          destination: `${cloakroom}/api/auth/:path*`,
          missing: [{ type: "header", key: "via", value: ".*cloakroom.*" }],
        },
      ],
    };
  },
};
