#include "cache/nvml_source.hpp"

#include "base/platform_wait.hpp"
#include "fake_nvml/fake_cards.hpp"

#include <doctest/doctest.h>

using gf::Status;
using gf::cache::NvmlSource;
using gf::test::FakeCards;

TEST_CASE("NVML's cards are read with total, free and what this process holds") {
  FakeCards cards(2);
  cards.card(0).total = 1000;
  cards.card(0).used = 300;
  cards.card(1).total = 24'000'000'000;
  cards.card(1).used = 1'000'000'000;
  cards.card(1).process_count = 2;
  cards.card(1).process_pid[0] = 1;
  cards.card(1).process_bytes[0] = 600'000'000;
  cards.card(1).process_pid[1] = static_cast<std::uint64_t>(gf::process_number());
  cards.card(1).process_bytes[1] = 400'000'000;
  {
    const auto source = NvmlSource::open(GAMEFORGE_FAKE_NVML_LIBRARY).value();
    CHECK(cards.state().open == 1);
    REQUIRE(source->device_count() == 2);
    CHECK(source->device_name(1) == "Fake card 1");
    CHECK(source->device_name(2).empty());
    const auto first = source->read(0).value();
    CHECK(first.total == 1000);
    CHECK(first.free == 700);
    CHECK_FALSE(first.used_by_us.has_value());
    const auto second = source->read(1).value();
    CHECK(second.free == 23'000'000'000);
    CHECK(second.used_by_us == 400'000'000);
    // A driver that does not tell (containers).
    cards.card(1).process_bytes[1] = ~std::uint64_t{0};
    CHECK_FALSE(source->read(1).value().used_by_us.has_value());
    CHECK(source->read(2).error().status == Status::invalid_argument);
    cards.card(0).lost = 1;
    const auto lost = source->read(0).error();
    CHECK(lost.status == Status::device_lost);
    CHECK(lost.message == "memory of card 0: NVML says GPU is lost (15)");
    cards.card(0).lost = 0;
    CHECK(source->read(0).has_value());
  }
  CHECK(cards.state().open == 0);
}

TEST_CASE("an NVML that is absent, does not start or is another library is said so") {
  CHECK(NvmlSource::open("/nowhere/libnvidia-ml.so.1").error().status == Status::not_found);
  CHECK(NvmlSource::open(GAMEFORGE_FAKE_CUDART_LIBRARY).error().status == Status::unsupported);
  FakeCards cards(1);
  cards.state().init_fails = 9;
  const auto error = NvmlSource::open(GAMEFORGE_FAKE_NVML_LIBRARY).error();
  CHECK(error.status == Status::device_lost);
  CHECK(error.message == "nvmlInit: NVML says Driver Not Loaded (9)");
}

TEST_CASE("the system's own NVML is opened, or its absence is an answer") {
  const auto source = NvmlSource::open();
  if (source) {
    for (std::uint32_t card = 0; card < source.value()->device_count(); ++card) {
      const auto memory = source.value()->read(card);
      if (memory) CHECK(memory.value().free <= memory.value().total);
    }
  } else {
    const auto status = source.error().status;
    CHECK((status == Status::not_found || status == Status::device_lost));
  }
}
