// The PostgreSQL side of the interface: libpq, opened at run time and only when a PostgreSQL URL asks for it.
#include "sql/sql.hpp"

#include "base/utf8.hpp"

#include <dlfcn.h>
#include <fmt/format.h>
#include <libpq-fe.h>

#include <algorithm>
#include <charconv>
#include <mutex>
#include <unordered_map>

namespace gf::sql {
namespace {

// X(name): the functions of libpq that are used.
// Version 14 lays a list of macro calls out differently each time it is run.
// clang-format off
#define GF_LIBPQ_FUNCTIONS(X) \
  X(PQconnectdbParams) X(PQstatus) X(PQerrorMessage) X(PQfinish) X(PQexec) X(PQprepare) X(PQexecPrepared) \
  X(PQexecParams) X(PQresultStatus) X(PQresultErrorField) X(PQresultErrorMessage) X(PQclear) X(PQntuples) \
  X(PQnfields) X(PQfname) X(PQftype) X(PQgetvalue) X(PQgetlength) X(PQgetisnull) X(PQtransactionStatus) \
  X(PQbackendPID) X(PQgetCancel) X(PQcancel) X(PQfreeCancel) X(PQsetNoticeReceiver) X(PQputCopyEnd) \
  X(PQgetResult) X(PQparameterStatus) X(PQconninfoParse) X(PQconninfoFree) X(PQfreemem)
// clang-format on

struct Libpq {
#define GF_DETAIL_POINTER(name) decltype(&::name) name = nullptr;
  GF_LIBPQ_FUNCTIONS(GF_DETAIL_POINTER)
#undef GF_DETAIL_POINTER
};

/// Opened once and never closed: its threads' keys and OpenSSL's handlers outlive any connection.
Result<const Libpq*> libpq() {
  static std::mutex mutex;
  static Libpq table;
  static bool loaded = false;
  const std::scoped_lock lock(mutex);
  if (loaded) return &table;
  void* object = dlopen("libpq.so.5", RTLD_NOW | RTLD_LOCAL);
  if (object == nullptr) {
    const char* why = dlerror();  // NOLINT(concurrency-mt-unsafe): the C library keeps one for each thread.
    return Error{
        Status::unsupported,
        fmt::format("PostgreSQL needs libpq.so.5, which was not found: {}", why != nullptr ? why : "no reason given"),
        {}};
  }
#define GF_DETAIL_LOAD(name)                                              \
  table.name = reinterpret_cast<decltype(&::name)>(dlsym(object, #name)); \
  if (table.name == nullptr) return Error{Status::unsupported, "libpq.so.5 has no function " #name, {}};
  GF_LIBPQ_FUNCTIONS(GF_DETAIL_LOAD)
#undef GF_DETAIL_LOAD
  loaded = true;
  return &table;
}

std::string trimmed(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

/// Shared with cancellers; the connection may go while a thread is about to cancel.
struct Cancel final : Canceller {
  const Libpq* pq;
  std::mutex mutex;
  PGcancel* handle = nullptr;  // Guarded by mutex; null once closed.

  explicit Cancel(const Libpq* functions) : pq(functions) {}
  void cancel() noexcept override {
    const std::scoped_lock lock(mutex);
    char words[256];
    if (handle != nullptr) pq->PQcancel(handle, words, sizeof words);
  }
};

class Postgres final : public Connection {
 public:
  Postgres(const Libpq* pq, PGconn* connection)
      : pq_(pq), connection_(connection), cancel_(std::make_shared<Cancel>(pq)) {
    cancel_->handle = pq_->PQgetCancel(connection_);
    // libpq's own receiver writes to the standard error stream.
    pq_->PQsetNoticeReceiver(
        connection_,
        [](void* self, const PGresult* result) {
          auto& postgres = *static_cast<Postgres*>(self);
          const char* severity = postgres.pq_->PQresultErrorField(result, PG_DIAG_SEVERITY);
          const char* words = postgres.pq_->PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
          if (words != nullptr && postgres.notices_.size() < 1000) {
            postgres.notices_.push_back(fmt::format("{}: {}", severity != nullptr ? severity : "NOTICE", words));
          }
        },
        this);
  }
  ~Postgres() override {
    {
      const std::scoped_lock lock(cancel_->mutex);
      pq_->PQfreeCancel(cancel_->handle);
      cancel_->handle = nullptr;
    }
    pq_->PQfinish(connection_);
  }

  Dialect dialect() const override { return Dialect::postgresql; }

  Result<void> execute(std::string_view statement, std::span<const Value> parameters) override {
    GF_TRYV(run(statement, parameters, nullptr));
    return success();
  }
  Result<Rows> query(std::string_view statement, std::span<const Value> parameters) override {
    Rows rows;
    GF_TRYV(run(statement, parameters, &rows));
    return rows;
  }
  Result<Rows> script(std::string_view statements) override {
    Rows rows;
    GF_TRYV(run(statements, {}, &rows));
    return rows;
  }

  bool in_transaction() const override {
    const auto status = pq_->PQtransactionStatus(connection_);
    return status == PQTRANS_INTRANS || status == PQTRANS_INERROR || status == PQTRANS_ACTIVE;
  }

  Result<void> set_timeouts(std::int64_t lock_us, std::int64_t statement_us) override {
    const auto milliseconds = [](std::int64_t us) { return std::min<std::int64_t>((us + 999) / 1000, 2147483647); };
    GF_TRYV(script(fmt::format("SET lock_timeout = {}; SET statement_timeout = {}", milliseconds(lock_us),
                               milliseconds(statement_us))));
    return success();
  }

  std::shared_ptr<Canceller> canceller() override { return cancel_; }

  Result<std::int64_t> backend_id() override {
    GF_TRY(const auto rows, query("SELECT pg_backend_pid()", {}));
    return rows.integer(0, 0);
  }

  void allow_prepared(bool allowed) override {
    prepare_allowed_ = allowed;
    if (!allowed) prepared_.clear();
  }
  bool usable() const override { return pq_->PQstatus(connection_) == CONNECTION_OK; }

 private:
  struct Clear {
    const Libpq* pq;
    void operator()(PGresult* result) const { pq->PQclear(result); }
  };
  using ResultPtr = std::unique_ptr<PGresult, Clear>;

  Result<void> run(std::string_view text, std::span<const Value> parameters, Rows* rows) {
    if (text.find('\0') != std::string_view::npos) {
      failure_ = {Status::invalid_argument, "", "the statement has a NUL byte in it", "", "", {}};
      return Error{failure_.status, failure_.message, {}};
    }
    const std::string terminated(text);
    PGresult* raw = nullptr;
    if (parameters.empty()) {
      raw = pq_->PQexec(connection_, terminated.c_str());
    } else {
      std::vector<std::string> texts(parameters.size());
      std::vector<const char*> values(parameters.size(), nullptr);
      for (std::size_t i = 0; i < parameters.size(); ++i) {
        if (const auto* integer = std::get_if<std::int64_t>(&parameters[i])) {
          texts[i] = fmt::format("{}", *integer);
        } else if (const auto* real = std::get_if<double>(&parameters[i])) {
          texts[i] = fmt::format("{}", *real);
        } else if (const auto* words = std::get_if<std::string>(&parameters[i])) {
          texts[i] = *words;
        } else if (std::holds_alternative<Bytes>(parameters[i])) {
          failure_ = {Status::unsupported, "", "bytes go into SQLite only", "", "", {}};
          return Error{failure_.status, failure_.message, {}};
        } else {
          continue;
        }
        values[i] = texts[i].c_str();
      }
      const auto count = static_cast<int>(values.size());
      if (prepare_allowed_) {
        auto found = prepared_.find(terminated);
        if (found == prepared_.end()) {
          const std::string name = fmt::format("gameforge_{}", prepared_.size());
          const ResultPtr made(pq_->PQprepare(connection_, name.c_str(), terminated.c_str(), count, nullptr),
                               Clear{pq_});
          GF_TRYV(take(made.get(), text, nullptr));
          found = prepared_.emplace(terminated, name).first;
        }
        raw = pq_->PQexecPrepared(connection_, found->second.c_str(), count, values.data(), nullptr, nullptr, 0);
      } else {
        raw = pq_->PQexecParams(connection_, terminated.c_str(), count, nullptr, values.data(), nullptr, nullptr, 0);
      }
    }
    const ResultPtr result(raw, Clear{pq_});
    return take(result.get(), text, rows);
  }

  Result<void> take(PGresult* result, std::string_view text, Rows* rows) {
    switch (result == nullptr ? PGRES_FATAL_ERROR : pq_->PQresultStatus(result)) {
      case PGRES_COMMAND_OK:
      case PGRES_EMPTY_QUERY:
        return success();
      case PGRES_TUPLES_OK:
        if (rows != nullptr) read(result, *rows);
        return success();
      case PGRES_COPY_IN:
        pq_->PQputCopyEnd(connection_, "a migration has no data block");
        drain();
        failure_ = {Status::unsupported, "0A000", "COPY FROM STDIN needs a data block, which is not there", "", "", {}};
        return Error{failure_.status, failure_.message, {}};
      case PGRES_COPY_OUT:
        cancel_->cancel();
        drain();
        failure_ = {Status::unsupported, "0A000", "COPY TO STDOUT has nobody to read it", "", "", {}};
        return Error{failure_.status, failure_.message, {}};
      default:
        return fail(result, text);
    }
  }

  void drain() {
    for (int i = 0; i < 100; ++i) {
      PGresult* more = pq_->PQgetResult(connection_);
      if (more == nullptr) return;
      pq_->PQclear(more);
    }
  }

  Result<void> fail(PGresult* result, std::string_view text) {
    const auto field = [&](int code) {
      const char* words = result != nullptr ? pq_->PQresultErrorField(result, code) : nullptr;
      return std::string(words != nullptr ? words : "");
    };
    failure_ = {};
    failure_.code = field(PG_DIAG_SQLSTATE);
    failure_.message = field(PG_DIAG_MESSAGE_PRIMARY);
    failure_.detail = field(PG_DIAG_MESSAGE_DETAIL);
    failure_.hint = field(PG_DIAG_MESSAGE_HINT);
    if (const auto context = field(PG_DIAG_CONTEXT); !context.empty()) {
      failure_.detail += (failure_.detail.empty() ? "" : "; ") + context;
    }
    failure_.status = status_of_sqlstate(failure_.code);
    if (failure_.code == "57014" && failure_.message.find("timeout") != std::string::npos)
      failure_.status = Status::timed_out;
    if (failure_.message.empty()) {
      failure_.message = trimmed(pq_->PQerrorMessage(connection_));
      if (failure_.message.empty()) failure_.message = "the server gave no answer";
    }
    if (pq_->PQstatus(connection_) != CONNECTION_OK) failure_.status = Status::network_error;
    const std::string position = field(PG_DIAG_STATEMENT_POSITION);
    std::size_t characters = 0;
    std::from_chars(position.data(), position.data() + position.size(), characters);
    if (characters > 0) {
      std::size_t offset = 0;
      for (std::size_t left = characters - 1; offset < text.size() && left > 0; --left) {
        ++offset;
        while (offset < text.size() && (static_cast<unsigned char>(text[offset]) & 0xC0) == 0x80) ++offset;
      }
      failure_.offset = offset;
    }
    return Error{failure_.status, failure_.message, {}};
  }

  void read(const PGresult* result, Rows& rows) {
    // Types by their fixed object ids (pg_type.dat): bool, int8, int2, int4, oid, float4, float8.
    const int columns = pq_->PQnfields(result);
    const int count = pq_->PQntuples(result);
    for (int c = 0; c < columns; ++c) rows.columns.emplace_back(pq_->PQfname(result, c));
    rows.rows.reserve(static_cast<std::size_t>(count));
    for (int r = 0; r < count; ++r) {
      auto& row = rows.rows.emplace_back();
      row.reserve(static_cast<std::size_t>(columns));
      for (int c = 0; c < columns; ++c) {
        if (pq_->PQgetisnull(result, r, c) != 0) {
          row.emplace_back(std::monostate{});
          continue;
        }
        const std::string_view words(pq_->PQgetvalue(result, r, c),
                                     static_cast<std::size_t>(pq_->PQgetlength(result, r, c)));
        const auto type = pq_->PQftype(result, c);
        if (type == 16) {
          row.emplace_back(std::int64_t{words == "t"});
        } else if (type == 20 || type == 21 || type == 23 || type == 26) {
          std::int64_t integer = 0;
          std::from_chars(words.data(), words.data() + words.size(), integer);
          row.emplace_back(integer);
        } else if (type == 700 || type == 701) {
          double real = 0;
          std::from_chars(words.data(), words.data() + words.size(), real);
          row.emplace_back(real);
        } else {
          row.emplace_back(std::string(words));
        }
      }
    }
  }

  const Libpq* pq_;
  PGconn* connection_;
  std::shared_ptr<Cancel> cancel_;
  bool prepare_allowed_ = false;
  std::unordered_map<std::string, std::string> prepared_;  // Statement to its name on the server.
};

}  // namespace

Result<std::unique_ptr<Connection>> open_postgres(const std::string& url, const OpenOptions& options) {
  GF_TRY(const Libpq* const pq, libpq());
  // libpq quotes the part of the URL that it cannot read, which may hold the password, so its words are not told.
  const Error unreadable{
      Status::invalid_argument, fmt::format("the database's URL {} cannot be read", shown(redacted(url))), {}};
  char* why = nullptr;
  PQconninfoOption* const parts = pq->PQconninfoParse(url.c_str(), &why);
  pq->PQfreemem(why);
  if (parts == nullptr) return unreadable;
  pq->PQconninfoFree(parts);
  // libpq rounds below 2 s up to 2 s (its documentation, connect_timeout).
  const std::string timeout =
      fmt::format("{}", std::max<std::int64_t>(2, (options.connect_timeout_us + 999'999) / 1'000'000));
  // Of two values of one keyword the later wins: what stands before dbname (the URL, which is expanded) the URL may
  // override. Keepalives and tcp_user_timeout bound the wait for a server whose cable is out; files are UTF-8.
  std::vector<const char*> keywords = {
      "fallback_application_name", "connect_timeout",  "keepalives", "keepalives_idle", "keepalives_interval",
      "keepalives_count",          "tcp_user_timeout", "dbname",     "client_encoding"};
  std::vector<const char*> values = {
      options.application_name.c_str(), timeout.c_str(), "1", "10", "5", "3", "30000", url.c_str(), "UTF8"};
  if (!options.database.empty()) {
    keywords.push_back("dbname");
    values.push_back(options.database.c_str());
  }
  keywords.push_back(nullptr);
  values.push_back(nullptr);
  PGconn* raw = pq->PQconnectdbParams(keywords.data(), values.data(), 1);
  if (raw == nullptr) return Error{Status::out_of_host_memory, "libpq had no memory for a connection", {}};
  if (pq->PQstatus(raw) != CONNECTION_OK) {
    std::string words = trimmed(pq->PQerrorMessage(raw));
    pq->PQfinish(raw);
    std::replace(words.begin(), words.end(), '\n', ' ');
    // libpq keeps no SQLSTATE of a refused connection; the server's English words are what there is.
    Status status = Status::network_error;
    if (words.find("authentication failed") != std::string::npos ||
        words.find("no password supplied") != std::string::npos || words.find("pg_hba.conf") != std::string::npos ||
        words.find("role \"") != std::string::npos) {
      status = Status::unauthorised;
    } else if (words.find("database \"") != std::string::npos && words.find("does not exist") != std::string::npos) {
      status = Status::not_found;
    } else if (words.find("invalid ") == 0 || words.find("missing ") == 0) {
      return unreadable;
    }
    return Error{status, fmt::format("{} cannot be reached: {}", redacted(url), words), {}};
  }
  auto connection = std::make_unique<Postgres>(pq, raw);
  // Without this a pooled or restarted setup could choose another reading of plain strings than our scanner's. The
  // idle timeout ends a transaction (and with it our lock) whose runner stopped answering.
  GF_TRYV(
      connection->script("SET standard_conforming_strings = on; SET idle_in_transaction_session_timeout = '10min'"));
  if (options.read_only) {
    GF_TRYV(connection->script("SET default_transaction_read_only = on"));
  }
  return std::unique_ptr<Connection>(std::move(connection));
}

}  // namespace gf::sql
