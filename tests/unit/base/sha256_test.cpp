#include "base/sha256.hpp"

#include <doctest/doctest.h>

#include <random>
#include <string>
#include <string_view>

TEST_CASE("golden: the examples of FIPS 180-2, appendix B, and the empty message") {
  CHECK(gf::sha256_hex("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(gf::sha256_hex("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(gf::sha256_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK(gf::sha256_hex(std::string(1'000'000, 'a')) ==
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("property: the digest does not depend on how the bytes are cut") {
  std::mt19937 random(7);
  for (std::size_t length = 0; length <= 200; ++length) {
    CAPTURE(length);
    std::string text(length, '\0');
    for (auto& c : text) c = static_cast<char>(random());
    const auto whole = gf::sha256_hex(text);
    gf::Sha256 sum;
    std::string_view rest = text;
    while (!rest.empty()) {
      const auto take = std::min<std::size_t>(rest.size(), random() % 70);
      sum.add(rest.substr(0, take));
      rest.remove_prefix(take);
    }
    REQUIRE(gf::to_hex(sum.finish()) == whole);
  }
}

TEST_CASE("golden: lengths around the padding's block boundary, as coreutils 9.1 sha256sum has them") {
  CHECK(gf::sha256_hex(std::string(55, 'a')) == "9f4390f8d30c2dd92ec9f095b65e2b9ae9b0a925a5258e241c9f1e910f734318");
  CHECK(gf::sha256_hex(std::string(56, 'a')) == "b35439a4ac6f0948b6d6f9e3c6af0f5f590ce20f1bde7090ef7970686ec6738a");
  CHECK(gf::sha256_hex(std::string(64, 'a')) == "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb");
}

TEST_CASE("property: with the processor's instructions and without them every message has the same digest") {
  std::mt19937 random(11);
  std::string message;
  for (std::size_t size = 0; size < 400; ++size) {
    gf::Sha256 fast;
    auto portable = gf::Sha256::portable();
    fast.add(message);
    portable.add(message);
    REQUIRE(gf::to_hex(fast.finish()) == gf::to_hex(portable.finish()));
    message += static_cast<char>(random());
  }
}

TEST_CASE("hex digits are lower case, two a byte") {
  const std::byte bytes[] = {std::byte{0}, std::byte{0x0F}, std::byte{0xA5}, std::byte{0xFF}};
  CHECK(gf::to_hex(bytes) == "000fa5ff");
}
