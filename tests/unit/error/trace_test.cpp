#include "error/trace.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using gf::error::parse_traceparent;
using gf::error::to_traceparent;

TEST_CASE("golden: the example of the recommendation passes through unchanged") {
  // W3C Trace Context, section 3.2.2.5.
  const std::string text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
  const auto trace = parse_traceparent(text);
  REQUIRE(trace.has_value());
  CHECK(trace->flags == 1);
  CHECK(to_traceparent(*trace) == text);
  CHECK(gf::error::trace_id_text(*trace) == "4bf92f3577b34da6a3ce929d0e0e4736");
  CHECK(gf::error::span_id_text(*trace) == "00f067aa0ba902b7");
}

TEST_CASE("later versions are read as far as they are known, and what is none is refused") {
  const std::string good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
  CHECK(parse_traceparent("cc" + good.substr(2)).has_value());
  CHECK(parse_traceparent("cc" + good.substr(2) + "-more").has_value());
  for (const std::string& bad : std::vector<std::string>{std::string(), good.substr(0, 54), good + "-more",
                                                         "ff" + good.substr(2), "cc" + good.substr(2) + "more",
                                                         "00-00000000000000000000000000000000-00f067aa0ba902b7-00",
                                                         "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-00",
                                                         "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-00",
                                                         "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
                                                         "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-00"}) {
    CAPTURE(bad);
    CHECK_FALSE(parse_traceparent(bad).has_value());
  }
}
