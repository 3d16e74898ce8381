#include "cache/cuda_source.hpp"

#include "fake_nvml/fake_cards.hpp"

#include <doctest/doctest.h>

using gf::Status;
using gf::cache::CudaSource;
using gf::test::FakeCards;

TEST_CASE("the CUDA runtime's cards are read one by one, and the thread's card is put back") {
  FakeCards cards(2);
  cards.card(0).total = 100;
  cards.card(1).total = 900;
  cards.card(1).used = 200;
  const auto source = CudaSource::open(GAMEFORGE_FAKE_CUDART_LIBRARY).value();
  REQUIRE(source->device_count() == 2);
  CHECK(source->read(1).value().total == 900);
  CHECK(source->read(1).value().free == 700);
  CHECK(source->read(0).value().total == 100);
  CHECK(source->read(2).error().status == Status::invalid_argument);
  cards.card(1).lost = 1;
  CHECK(source->read(1).error().message == "memory of card 1: CUDA says uncorrectable ECC error encountered (214)");
  CHECK(source->read(0).value().free == 100);
}

TEST_CASE("a CUDA runtime that is absent or has no card is said so") {
  CHECK(CudaSource::open("/nowhere/libcudart.so.12").error().status == Status::not_found);
  CHECK(CudaSource::open(GAMEFORGE_FAKE_NVML_LIBRARY).error().status == Status::unsupported);
  FakeCards cards(0);
  CHECK(CudaSource::open(GAMEFORGE_FAKE_CUDART_LIBRARY).error().status == Status::not_found);
}
