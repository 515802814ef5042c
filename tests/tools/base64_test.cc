#include "tools/base64.h"

#include <array>
#include <string>
#include <utility>

#include <gtest/gtest.h>

namespace lares::tools {
namespace {

// RFC 4648, section 10.
constexpr std::array<std::pair<const char*, const char*>, 7> kVectors{{{"", ""},
                                                                       {"f", "Zg=="},
                                                                       {"fo", "Zm8="},
                                                                       {"foo", "Zm9v"},
                                                                       {"foob", "Zm9vYg=="},
                                                                       {"fooba", "Zm9vYmE="},
                                                                       {"foobar", "Zm9vYmFy"}}};

TEST(Base64, IsAsTheStandardSays) {
  for (const auto& [bytes, text] : kVectors) {
    EXPECT_EQ(to_base64(bytes), text);
    EXPECT_EQ(from_base64(text), bytes);
  }
}

TEST(Base64, CarriesEveryByte) {
  std::string all;
  for (int c = 0; c < 256; ++c) all += static_cast<char>(c);
  for (std::size_t n = 0; n <= all.size(); ++n) {
    const std::string bytes = all.substr(all.size() - n);
    EXPECT_EQ(from_base64(to_base64(bytes)), bytes);
  }
  EXPECT_EQ(to_base64("\xfb\xff\xbe"), "+/++");
}

TEST(Base64, TakesNothingElse) {
  for (const char* wrong : {"a", "abc", "ab=c", "a===", "====", "=abc", "Y2Fm w6k", "Zm9v\n",
                            "\n\n\n\n", "Y2F*", "-_--", "Zg==Zg==", "Zm9 ", "Zm9\xc3"})
    EXPECT_FALSE(from_base64(wrong)) << wrong;
}

}  // namespace
}  // namespace lares::tools
