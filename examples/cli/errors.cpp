// gameforge errors: what goes wrong in a fleet, as its processes have stored it in Redis.
#include "commands.hpp"
#include "host.hpp"

#include <fmt/format.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <string>

namespace command {
namespace {

Failure bad(std::string message) { return {GF_ERR_INVALID_ARGUMENT, std::move(message)}; }

/// UTC, to the second.
std::string time_of(std::int64_t unix_us) {
  const auto seconds = static_cast<std::time_t>(unix_us / 1'000'000);
  std::tm parts{};
  if (unix_us == 0 || ::gmtime_r(&seconds, &parts) == nullptr) return "-";
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday,
                     parts.tm_hour, parts.tm_min, parts.tm_sec);
}

/// On one line of a terminal, whatever somebody has written into an error.
std::string line_of(const std::string& text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    out += byte < 0x20 || byte == 0x7F ? ' ' : c;
  }
  return out;
}

std::string text_in(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? line_of(found->get<std::string>()) : std::string();
}

/// Where the errors are.
struct Place {
  std::string redis;
  std::string name_space = "gameforge";

  void add_to(CLI::App& app, Chosen& chosen) {
    app.add_option("--redis", redis,
                   "redis://[[USER]:PASSWORD@]HOST[:PORT][/DB] or unix://SOCKET; REDIS_URL if not given")
        ->type_name("URL");
    app.add_option("--namespace", name_space, "What its keys begin with")->capture_default_str()->type_name("NAME");
    app.add_flag("--json", chosen.json, "JSON, one line each");
  }
};

class OpenStore {
 public:
  explicit OpenStore(const Place& place) {
    std::string url = place.redis;
    if (url.empty()) {
      if (const char* given = std::getenv("REDIS_URL")) url = given;
    }
    if (url.empty()) throw bad("no server was named; give --redis URL, or set REDIS_URL");
    gf_error_store_options options = GF_ERROR_STORE_OPTIONS_INIT;
    options.redis_url = url.c_str();
    options.name_space = place.name_space.c_str();
    options.command_timeout_us = 5'000'000;  // Somebody waits for the answer, and no frame does.
    check(gf_error_store_open(&options, &store_));
  }
  OpenStore(const OpenStore&) = delete;
  OpenStore& operator=(const OpenStore&) = delete;
  ~OpenStore() { gf_error_store_close(store_, 0); }
  gf_error_store* get() const { return store_; }

 private:
  gf_error_store* store_ = nullptr;
};

void add_top(CLI::App& errors, Chosen& chosen) {
  auto* app = errors.add_subcommand("top", "Which kinds of errors there were most of");
  struct Asked {
    Place place;
    double window_s = 3600;
    std::uint32_t count = 20;
  };
  auto asked = std::make_shared<Asked>();
  app->add_option("--window", asked->window_s, "Of the last so long, to 8 days")
      ->capture_default_str()
      ->type_name("SECONDS");
  app->add_option("--count", asked->count, "At most so many, to 1000")->capture_default_str()->type_name("N");
  asked->place.add_to(*app, chosen);
  app->footer(
      "Examples:\n"
      "  gameforge errors top --redis redis://localhost\n"
      "  gameforge errors top --window 86400 --json");
  on_chosen(*app, chosen, [&chosen, asked] {
    if (!(asked->window_s >= 1 && asked->window_s <= 691'200)) {
      throw bad(fmt::format("--window is {} seconds; it must be 1 to 691200", asked->window_s));
    }
    const OpenStore opened(asked->place);
    const auto top = json_of([&](char* b, std::uint64_t* s) {
      return gf_error_store_top_json(opened.get(), std::llround(asked->window_s * 1e6), asked->count, b, s);
    });
    if (chosen.json) return print_json(top);
    for (const auto& group : top.at("groups")) {
      std::printf("%s  %8llu  %-7s  %s  %s\n", text_in(group, "fingerprint").c_str(),
                  static_cast<unsigned long long>(group.value("in_window", std::uint64_t{0})),
                  text_in(group, "severity").c_str(), time_of(group.value("last_us", std::int64_t{0})).c_str(),
                  text_in(group, "title").c_str());
    }
    std::printf("%llu errors", static_cast<unsigned long long>(top.value("errors", std::uint64_t{0})));
    if (const auto other = top.value("other", std::uint64_t{0}); other > 0) {
      std::printf(", %llu of them in groups that are not kept apart", static_cast<unsigned long long>(other));
    }
    if (const auto lost = top.value("lost", std::uint64_t{0}); lost > 0) {
      std::printf("; %llu were lost before they could be stored", static_cast<unsigned long long>(lost));
    }
    std::printf("\n");
  });
}

void add_show(CLI::App& errors, Chosen& chosen) {
  auto* app = errors.add_subcommand("show", "Shows one kind of error, with its newest one and who had how many");
  struct Asked {
    Place place;
    std::string fingerprint;
  };
  auto asked = std::make_shared<Asked>();
  app->add_option("fingerprint", asked->fingerprint, "Its 16 digits, as `top` gives them")
      ->required()
      ->type_name("FINGERPRINT");
  asked->place.add_to(*app, chosen);
  app->footer(
      "Examples:\n"
      "  gameforge errors show 8f14e45fceea167a");
  on_chosen(*app, chosen, [&chosen, asked] {
    const OpenStore opened(asked->place);
    auto group = json_of([&](char* b, std::uint64_t* s) {
      return gf_error_store_show_json(opened.get(), asked->fingerprint.c_str(), b, s);
    });
    if (chosen.json) return print_json(group);
    for (const char* time : {"first_us", "last_us"}) {
      group[std::string(time).substr(0, std::string(time).size() - 3)] = time_of(group.value(time, std::int64_t{0}));
      group.erase(time);
    }
    if (auto& sample = group["sample"]; sample.is_object()) {
      sample["at"] = time_of(sample.value("at_us", std::int64_t{0}));
      for (const char* known : {"at_us", "fingerprint"}) sample.erase(known);
    }
    std::printf("%s", readable(group, 0).c_str());
  });
}

void add_tail(CLI::App& errors, Chosen& chosen) {
  auto* app = errors.add_subcommand("tail", "Shows the newest errors, and with --follow those that come");
  struct Asked {
    Place place;
    std::uint32_t count = 20;
    bool follow = false;
  };
  auto asked = std::make_shared<Asked>();
  app->add_option("--count", asked->count, "At most so many, to 1000")->capture_default_str()->type_name("N");
  app->add_flag("-f,--follow", asked->follow, "Goes on until it is interrupted");
  asked->place.add_to(*app, chosen);
  app->footer(
      "Examples:\n"
      "  gameforge errors tail --follow --redis redis://localhost");
  on_chosen(*app, chosen, [&chosen, asked] {
    if (asked->follow) install_interrupt();
    const OpenStore opened(asked->place);
    std::string after;
    // Asked once for the size and once for the text, the first of which may wait: so it has to be short.
    constexpr std::int64_t wait_us = 1'000'000;
    do {
      const auto page = json_of([&](char* b, std::uint64_t* s) {
        return gf_error_store_tail_json(opened.get(), after.empty() ? nullptr : after.c_str(), asked->count,
                                        asked->follow && b == nullptr && !after.empty() ? wait_us : 0, b, s);
      });
      for (const auto& each : page.at("errors")) {
        if (chosen.json) {
          print_json(each);
          continue;
        }
        if (const auto lost = each.find("lost"); lost != each.end()) {
          std::printf("%s lost %llu errors before they could be stored\n", text_in(each, "process").c_str(),
                      static_cast<unsigned long long>(lost->get<std::uint64_t>()));
          continue;
        }
        if (!each.contains("error") || !each.at("error").is_object()) continue;
        const auto& error = each.at("error");
        const auto place = text_in(error, "place");
        std::printf("%s  %-7s  %s  %s%s: %s\n", time_of(error.value("at_us", std::int64_t{0})).c_str(),
                    text_in(error, "severity").c_str(), text_in(error, "process").c_str(),
                    text_in(error, "name").c_str(), place.empty() ? "" : (" in " + place).c_str(),
                    text_in(error, "message").c_str());
      }
      std::fflush(stdout);
      after = page.at("next").get<std::string>();
    } while (asked->follow && !interrupted());
  });
}

}  // namespace

void add_errors(CLI::App& app, Chosen& chosen) {
  auto* errors =
      app.add_subcommand("errors", "Shows what goes wrong in all processes that store their errors in Redis");
  errors->require_subcommand(1);
  errors->footer(
      "The server is --redis URL, or REDIS_URL.\n"
      "\n"
      "Examples:\n"
      "  gameforge errors top --redis redis://localhost\n"
      "  gameforge errors tail --follow");
  add_top(*errors, chosen);
  add_show(*errors, chosen);
  add_tail(*errors, chosen);
}

}  // namespace command
