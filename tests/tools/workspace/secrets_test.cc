#include "tools/workspace/secrets.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace lares::tools {
namespace {

// Put together here, so that no scanner takes this file for a leak.
std::string joined(const std::vector<std::string>& parts) {
  std::string out;
  for (const auto& part : parts) out += part;
  return out;
}
const std::string kRandom36 = joined({"q7Hk2LmX9", "vTz4RbYc8", "WnJ5sDgF1", "pA6uEoQ3x"});
const std::string kHex40 = joined({"9f3a7c21e8", "b04d5f6a1c", "73e29b8d40", "6f15ac0e7b"});

TEST(Secrets, KnowsTheIssuersShapes) {
  struct Case {
    std::string text, kind;
  };
  const std::vector<Case> cases = {
      {joined({"x\n-----BEGIN RSA ", "PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7bq0\n"}), "private key"},
      {joined({"\"private_key\": \"-----BEGIN ", "PRIVATE KEY-----\\nMIIEvQIBADANBgkqhkiG9w0\""}),
       "private key"},
      {joined({"-----BEGIN OPENSSH ", "PRIVATE KEY-----\r\nb3BlbnNzaC1rZXktdjEAAAAA\r\n"}),
       "private key"},
      {joined({"x\n-----BEGIN ", "PRIVATE KEY-----\r\n"}), "private key"},
      {joined({"aws_id = AK", "IAQ7HK2LMX5VTZ4RBY"}), "AWS key"},
      {joined({"url: https://x:gh", "p_", kRandom36, "@github.com"}), "GitHub token"},
      {joined({"gl", "pat-q7Hk2LmX9vTz4RbYc8Wn"}), "GitLab token"},
      {joined({"xo", "xb-234567890123-q7Hk2LmX9vTz4RbYc8"}), "Slack token"},
      {joined({"AI", "za", kRandom36.substr(0, 35)}), "Google key"},
      {joined({"sk_", "live_q7Hk2LmX9vTz4RbYc8WnJ5sD"}), "Stripe key"},
      {joined({"sk-", "ant-", kRandom36, kRandom36}), "model API key"},
      {joined({"np", "m_", kRandom36}), "access token"},
      {"password = \"" + kRandom36.substr(0, 24) + "\"", "value of a secret"},
      {"  client_secret: " + kRandom36, "value of a secret"},
      {"{\"api_key\": \"" + kHex40 + "\"}", "value of a secret"},
      {"export DB_PASSWORD='" + kRandom36.substr(4, 20) + "'", "value of a secret"},
  };
  for (const auto& c : cases) EXPECT_EQ(find_secret(c.text).kind, c.kind) << c.text;
}

TEST(Secrets, LeavesExamplesHashesAndNamesAlone) {
  for (const std::string text : {
           "if line.startswith('-----BEGIN RSA PRIVATE KEY-----'):",
           "-----BEGIN CERTIFICATE-----\nMIIEpAIBAAKCAQEA7bq0\n",
           "AKIAIOSFODNN7EXAMPLE",
           "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
           "password = \"correct horse battery staple\"",
           "password = get_password_from_environment(user)",
           "token: ${{ secrets.GITHUB_TOKEN_FOR_RELEASES_2 }}",
           "secret_key = os.environ['DJANGO_SECRET_KEY_2024']",
           "API_KEY=your-api-key-goes-here-1234",
           "token = NextTokenKindOfTheParserV2AndLater",
           "def encode(private_key: ed25519.Ed25519PrivateKey, x) -> None:",
           "token_url = https://login.example.com/oauth2/v2.0/token",
           "auth_key: 123e4567-e89b-12d3-a456-426614174000",
           "password: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
           "tokens: [\"<|begin_of_sentence|>\", 128000]",
       }) {
    const auto found = find_secret(text);
    EXPECT_EQ(found.kind, "") << text << " at " << found.at;
  }
  EXPECT_EQ(find_secret("sha = \"" + kHex40 + "\"").kind, "") << "only names for secrets count";
  EXPECT_EQ(find_secret("").kind, "");
}

TEST(Secrets, FindsOneBehindManyExamples) {
  std::string text;
  for (int i = 0; i < 500; ++i)
    text += "token = your_example_token_goes_here_1\nAKIAIOSFODNN7EXAMPLE\n";
  EXPECT_EQ(find_secret(text).kind, "");
  EXPECT_EQ(find_secret(text + "token = " + kRandom36).kind, "value of a secret");
}

}  // namespace
}  // namespace lares::tools
