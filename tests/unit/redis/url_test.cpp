#include "redis/url.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using gf::Status;
using gf::redis::Url;

TEST_CASE("golden: URLs and their parts") {
  const auto plain = Url::parse("redis://localhost").value();
  CHECK(plain.host == "localhost");
  CHECK(plain.port == 6379);
  CHECK(plain.database == 0);
  CHECK(plain.password.empty());
  const auto full = Url::parse("redis://us%40er:p%3Aa%2Fss@example.org:7000/12").value();
  CHECK(full.user == "us@er");
  CHECK(full.password == "p:a/ss");
  CHECK(full.host == "example.org");
  CHECK(full.port == 7000);
  CHECK(full.database == 12);
  CHECK(full.shown() == "redis://example.org:7000");
  const auto secret = Url::parse("redis://:secret@127.0.0.1:1").value();
  CHECK(secret.user.empty());
  CHECK(secret.password == "secret");
  const auto six = Url::parse("redis://[::1]:6380/").value();
  CHECK(six.host == "::1");
  CHECK(six.port == 6380);
  CHECK(six.shown() == "redis://[::1]:6380");
  const auto socket = Url::parse("unix://:pw@/run/redis.sock?db=3").value();
  CHECK(socket.path == "/run/redis.sock");
  CHECK(socket.password == "pw");
  CHECK(socket.database == 3);
  CHECK(socket.shown() == "unix:///run/redis.sock");
}

TEST_CASE("what is no URL is refused, and no password is shown") {
  const std::vector<std::string> bad = {"",
                                        "localhost",
                                        "http://secret@host",
                                        "redis://",
                                        "redis://:secret@",
                                        "redis://host:0",
                                        "redis://host:65536",
                                        "redis://host:x",
                                        "redis://host/secret",
                                        "redis://%zz:secret@host",
                                        "redis://u%:secret@host",
                                        "redis://user@host",
                                        "redis://[::1",
                                        "redis://[::1]x",
                                        "unix://relative",
                                        "unix:///a?database=1",
                                        "unix:///" + std::string(200, 'a')};
  for (const auto& text : bad) {
    CAPTURE(text);
    const auto url = Url::parse(text);
    REQUIRE(url.has_error());
    CHECK(url.error().status == Status::invalid_argument);
    CHECK(url.error().message.find("secret") == std::string::npos);
  }
  CHECK(Url::parse("rediss://host").error().status == Status::unsupported);
}
