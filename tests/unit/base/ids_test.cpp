#include "base/ids.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <set>
#include <string>
#include <thread>
#include <vector>

using gf::JobId;
using gf::JobIdMaker;
using gf::Status;

TEST_CASE("golden: the UUID version 7 of RFC 9562, appendix A.6") {
  // The appendix's time is 1645557742000 ms; its rand_a 0xCC3 comes from a fraction of a millisecond here, 0xCC3 / 4096
  // of one, which is 797.6 us: 797 us gives 0xCC0, so the last hex digit of rand_a is ours.
  JobIdMaker maker;
  const auto id = maker.make(1645557742000 * 1000 + 797, 0x18C4DC0C0C07398F);
  CHECK(gf::to_text(id) == "017f22e279b07cc098c4dc0c0c07398f");
  CHECK(gf::to_text(gf::parse_job_id("017F22E2-79B0-7CC3-98C4-DC0C0C07398F").value()) ==
        "017f22e279b07cc398c4dc0c0c07398f");
}

TEST_CASE("version and variant are there whatever the random bits are") {
  JobIdMaker maker;
  for (const std::uint64_t random : {std::uint64_t{0}, std::numeric_limits<std::uint64_t>::max()}) {
    const auto id = maker.make(1'700'000'000'000'000, random);
    CHECK(((id.high >> 12) & 0xF) == 7);
    CHECK((id.low >> 62) == 2);
  }
}

TEST_CASE("ids rise while the clock stands still, and when it steps back") {
  JobIdMaker maker;
  auto last = maker.make(1'700'000'000'000'000, 0);
  for (int i = 0; i < 10'000; ++i) {
    // The random half is all ones once and then zero: the order must come from the time alone.
    const auto next = maker.make(i < 5000 ? 1'700'000'000'000'000 : 1'600'000'000'000'000, 0);
    REQUIRE(next > last);
    last = next;
  }
  const auto later = maker.make(1'800'000'000'000'000, 0);
  CHECK(later > last);
  CHECK((later.high >> 16) == 1'800'000'000'000);  // After the step the id's time is the clock's again.
}

TEST_CASE("a clock before 1970 gives a valid id") {
  JobIdMaker maker;
  const auto id = maker.make(-5, 1);
  CHECK(((id.high >> 12) & 0xF) == 7);
  CHECK(gf::parse_job_id(gf::to_text(id)).value() == id);
}

TEST_CASE("threads that share a maker get different ids, each of them rising") {
  constexpr int thread_count = 4;
  constexpr int per_thread = 20'000;
  JobIdMaker maker;
  std::vector<std::vector<JobId>> made(thread_count);
  std::vector<std::thread> threads;
  for (auto& mine : made) {
    threads.emplace_back([&maker, &mine] {
      mine.reserve(per_thread);
      // One time and one random half for all: only the maker can tell them apart.
      for (int i = 0; i < per_thread; ++i) mine.push_back(maker.make(1'700'000'000'000'000, 42));
    });
  }
  for (auto& thread : threads) thread.join();
  std::set<JobId> all;
  for (const auto& mine : made) {
    CHECK(std::is_sorted(mine.begin(), mine.end()));
    all.insert(mine.begin(), mine.end());
  }
  CHECK(all.size() == std::size_t{thread_count} * per_thread);
}

TEST_CASE("text and number agree both ways, with and without dashes, in either case") {
  const JobId id{0x0123456789ABCDEF, 0xFEDCBA9876543210};
  CHECK(gf::to_text(id) == "0123456789abcdeffedcba9876543210");
  CHECK(gf::parse_job_id("0123456789abcdeffedcba9876543210").value() == id);
  CHECK(gf::parse_job_id("01234567-89AB-CDEF-FEDC-BA9876543210").value() == id);
  CHECK(gf::parse_job_id(std::string(32, '0')).value().is_nil());
}

TEST_CASE("what is no id is refused, and shown without harm") {
  for (const auto& text : {std::string(), std::string("-"), std::string(31, '1'), std::string(33, '1'),
                           std::string("0123456789abcdeffedcba987654321g"), std::string(31, '1') + " ",
                           std::string(100'000, 'f'), std::string("\xFF\n", 2)}) {
    const auto parsed = gf::parse_job_id(text);
    REQUIRE(parsed.has_error());
    CHECK(parsed.error().status == Status::invalid_argument);
    CHECK(parsed.error().message.size() < 300);
    // Bytes from outside must not forge a line of a log, or break a JSON text that carries the message.
    CHECK(parsed.error().message.find('\n') == std::string::npos);
    CHECK(parsed.error().message.find('\xFF') == std::string::npos);
  }
}

TEST_CASE("random bits differ from call to call") {
  std::set<std::uint64_t> seen;
  for (int i = 0; i < 1000; ++i) seen.insert(gf::random_bits());
  CHECK(seen.size() == 1000);
}
