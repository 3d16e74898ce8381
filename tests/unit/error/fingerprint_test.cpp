#include "error/fingerprint.hpp"

#include <doctest/doctest.h>

#include <array>
#include <chrono>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <vector>

using gf::Error;
using gf::ForeignCode;
using gf::Status;
using gf::error::fingerprint_of;
using gf::error::fingerprint_of_text;
using gf::error::template_of;

namespace {

Error disk_is_full(const std::string& path) { return Error{Status::disk_full, path + ": no space left", {}}; }
Error file_is_missing(const std::string& path) { return Error{Status::not_found, path + ": no such file", {}}; }
Error other_place(const std::string& path) { return Error{Status::disk_full, path + ": no space left", {}}; }
Error with_code(ForeignCode::Domain domain, std::int64_t number) {
  Error error{Status::database_error, "it said no", {}};
  error.foreign = {domain, number};
  return error;
}
Error wrapped(Error inner) { return gf::wrap(std::move(inner), Status::io_error, "the picture was not stored"); }

struct Pair {
  std::string_view one;
  std::string_view other;
};

}  // namespace

TEST_CASE("a thousand errors of one kind with random paths and numbers are one group") {
  std::mt19937 random(5);
  std::set<std::uint64_t> own;
  std::set<std::uint64_t> texts;
  for (int index = 0; index < 1000; ++index) {
    const auto path = "/data/" + std::to_string(random()) + "/image " + std::to_string(random() % 100) + ".png";
    own.insert(fingerprint_of(wrapped(disk_is_full(path))));
    texts.insert(fingerprint_of_text("driver: job " + std::to_string(random()) + " on '" + path + "' used 0x" +
                                     std::to_string(random() % 1000) + " of " + std::to_string(random() % 77) +
                                     ".5 MiB"));
  }
  CHECK(own.size() == 1);
  CHECK(texts.size() == 1);
}

TEST_CASE("frozen: fingerprints do not change from build to build") {
  // Of codes alone, so that another compiler's names of functions do not matter.
  CHECK(fingerprint_of_text("connection to \"db\" refused after 30 s") == 0x4917d127463780fcu);
  CHECK(fingerprint_of_text("") != 0);
}

TEST_CASE("status, place, causes and foreign codes tell our own errors apart; texts do not") {
  const auto one = fingerprint_of(disk_is_full("a"));
  CHECK(one == fingerprint_of(disk_is_full("something else")));
  CHECK(one != fingerprint_of(file_is_missing("a")));
  CHECK(one != fingerprint_of(other_place("a")));
  CHECK(one != fingerprint_of(wrapped(disk_is_full("a"))));
  CHECK(fingerprint_of(wrapped(disk_is_full("a"))) != fingerprint_of(wrapped(file_is_missing("a"))));
  CHECK(fingerprint_of(wrapped(disk_is_full("a"))) != fingerprint_of(wrapped(other_place("a"))));
  CHECK(fingerprint_of(wrapped(disk_is_full("a"))) != fingerprint_of(wrapped(wrapped(disk_is_full("a")))));
}

TEST_CASE("foreign codes always split: 40 pairs of numbers that look alike") {
  using Domain = ForeignCode::Domain;
  int pairs = 0;
  for (const auto domain : {Domain::system, Domain::sqlite, Domain::cuda, Domain::http}) {
    for (std::int64_t number = 500; number < 510; ++number, ++pairs) {
      CHECK(fingerprint_of(with_code(domain, number)) != fingerprint_of(with_code(domain, number + 3)));
      CHECK(fingerprint_of(with_code(domain, number)) != fingerprint_of(with_code(Domain::redis, number)));
      CHECK(fingerprint_of(wrapped(with_code(domain, number))) !=
            fingerprint_of(wrapped(with_code(domain, number + 20))));
    }
  }
  CHECK(pairs == 40);
  CHECK(fingerprint_of(with_code(Domain::none, 1)) == fingerprint_of(with_code(Domain::none, 2)));
}

TEST_CASE("40 pairs of foreign texts that must join") {
  constexpr std::array<Pair, 40> pairs = {{
      {"took 12 ms", "took 7312 ms"},
      {"took 1.5 s", "took 0.003 s"},
      {"took 12ms", "took 3ms"},
      {"at 0x7ffdeadbeef0", "at 0x10"},
      {"at offset -5", "at offset 17"},
      {"id 550e8400-e29b-41d4-a716-446655440000 is gone", "id 6ba7b810-9dad-11d1-80b4-00c04fd430c8 is gone"},
      {"hash 9f86d081884c7d65 differs", "hash 60303ae22b998861 differs"},
      {"job a8f3k2 failed", "job z9q7x1 failed"},
      {"layer12 is broken", "layer7 is broken"},
      {"down_blocks.3.attn is broken", "down_blocks.11.attn is broken"},
      {"cannot open '/var/lib/a.png'", "cannot open '/srv/some folder/b.png'"},
      {"cannot open \"a b c\"", "cannot open \"d\""},
      {"cannot open `one'", "cannot open `another one'"},
      {"cannot open /var/lib/a.png", "cannot open /srv/b.png"},
      {"cannot open C:\\models\\a.bin", "cannot open D:\\x.bin"},
      {"cannot open models/a.bin", "cannot open other/deep/b.bin"},
      {"GET https://example.org/a?x=1 refused", "GET http://other.example/b refused"},
      {"to 10.0.0.1:6379 timed out", "to 192.168.7.20:80 timed out"},
      {"at 2024-01-02T03:04:05Z it ended", "at 2026-11-25T10:00:00Z it ended"},
      {"[12:30:01] it ended", "[09:05:59] it ended"},
      {"line 3, column 4", "line 300, column 41"},
      {"50% done", "3% done"},
      {"used 5 of 8 GiB", "used 11 of 16 GiB"},
      {"pid=4711 died", "pid=12 died"},
      {"user=u18x2 left", "user=q77b9 left"},
      {"a  double   space", "a double space"},
      {"tab\tand newline\nhere", "tab and newline here"},
      {" leading", "leading"},
      {"trailing ", "trailing"},
      {"value 1e-5 is small", "value 3e-12 is small"},
      {"value 'nan' in tensor", "value 'inf' in tensor"},
      {"column \"user_name\" is missing", "column \"mail\" is missing"},
      {"relation 'a.b' does not exist", "relation 'c' does not exist"},
      {"(1, 4, 64, 64) expected", "(2, 4, 128, 96) expected"},
      {"[1] of [20]", "[17] of [33]"},
      {"cuda:0 is busy", "cuda:1 is busy"},
      {"thread 139872 ended", "thread 7 ended"},
      {"key gf:queue:00ab12cd34ef is locked", "key gf:queue:ffab99cd34e0 is locked"},
      {"+12 and -7", "+3 and -4"},
      {"file a.png (12345 bytes)", "file a.png (9 bytes)"},
  }};
  for (const auto& pair : pairs) {
    CAPTURE(pair.one);
    CAPTURE(template_of(pair.one));
    CAPTURE(template_of(pair.other));
    CHECK(fingerprint_of_text(pair.one) == fingerprint_of_text(pair.other));
    CHECK(template_of(pair.one) == template_of(pair.other));
  }
}

TEST_CASE("40 pairs of foreign texts that must split") {
  constexpr std::array<Pair, 40> pairs = {{
      {"out of memory", "out of disk"},
      {"out of memory", "out of memory."},
      {"cannot open 'x'", "cannot close 'x'"},
      {"cannot open 'x'", "cannot open x"},
      {"5 of 8 used", "5 of 8 free"},
      {"took 12 ms", "took 12 files"},
      {"connection refused", "connection reset"},
      {"connection refused", "Connection refused"},
      {"read /a/b failed", "write /a/b failed"},
      {"don't know", "do not know"},
      {"don't open 'x'", "don't close 'x'"},
      {"a: b", "a; b"},
      {"a b", "ab"},
      {"a", "a a"},
      {"layer12 is broken", "block12 is broken"},
      {"encoder.12 is broken", "decoder.12 is broken"},
      {"", "a"},
      {"deadlock detected", "deadlock suspected"},
      {"illegal address", "illegal instruction"},
      {"unspecified launch failure", "unspecified failure"},
      {"device-side assert", "host-side assert"},
      {"invalid device ordinal", "invalid device function"},
      {"no kernel image", "no kernel"},
      {"driver too old", "driver too new"},
      {"NCCL error", "cuDNN error"},
      {"timeout while reading", "timeout while writing"},
      {"permission denied", "permission granted"},
      {"syntax error at end", "syntax error at begin"},
      {"duplicate key value", "duplicate object"},
      {"table is locked", "database is locked"},
      {"disk I-O error", "disk image error"},
      {"MOVED to 3", "ASK to 3"},
      {"LOADING the dataset", "READONLY the dataset"},
      {"BUSY script", "NOSCRIPT script"},
      {"size mismatch", "type mismatch"},
      {"expected float", "expected half"},
      {"nan in output", "inf in output"},
      {"key missing", "key extra"},
      {"checksum differs", "length differs"},
      {"x = 'a', y = 'b'", "x = 'a'; y = 'b'"},
  }};
  for (const auto& pair : pairs) {
    CAPTURE(pair.one);
    CAPTURE(pair.other);
    CHECK(fingerprint_of_text(pair.one) != fingerprint_of_text(pair.other));
  }
}

TEST_CASE("a template shows what was masked") {
  CHECK(template_of("connection to \"db 1\" at 10.0.0.7:5432 refused after 30 s: /var/run/x.sock") ==
        "connection to \"*\" at # refused after # s: <path>");
  CHECK(template_of("can't read layer12, 0xff and 9f86d081884c7d65") == "can't read layer#, # and #");
}

TEST_CASE("random bytes are read to their end without harm, and the template keeps the fingerprint") {
  std::mt19937 random(9);
  constexpr std::string_view alphabet = "ab1 0x/\\'\"`.-:@%\n\t,;()\xff\x80Z_";
  for (int index = 0; index < 20000; ++index) {
    std::string text(random() % 40, ' ');
    for (auto& c : text) c = alphabet[random() % alphabet.size()];
    // On the heap to the byte, so that ASan sees a step too far.
    const std::vector<char> exact(text.begin(), text.end());
    const std::string_view view(exact.data(), exact.size());
    CHECK(fingerprint_of_text(view) == fingerprint_of_text(text));
    CHECK(template_of(view).size() <= 6 * text.size());
  }
  CHECK(template_of(std::string(1 << 20, 'a')).size() == 4096);
}
