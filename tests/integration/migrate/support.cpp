#include "support.hpp"

#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <thread>

namespace gf::test {
namespace {

void need(bool holds, const std::string& what) {
  if (!holds) throw std::runtime_error(what);
}

}  // namespace

Process::Process(std::vector<std::string> arguments, const std::string& output, uid_t user, gid_t group) {
  std::vector<char*> words;
  for (auto& argument : arguments) words.push_back(argument.data());
  words.push_back(nullptr);
  const pid_t parent = getpid();
  pid_ = fork();
  need(pid_ >= 0, "fork failed");
  if (pid_ != 0) return;
  const int out = ::open(output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666);
  dup2(out, STDOUT_FILENO);
  dup2(out, STDERR_FILENO);
  if (user != 0 && (setgid(group) != 0 || setuid(user) != 0)) _exit(126);
  // A test that dies takes its children with it.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(126);
  execv(words[0], words.data());
  _exit(127);
}

Process::~Process() {
  if (status_ != -1) return;
  signal(SIGKILL);
  wait(10'000'000);
}

void Process::signal(int number) const {
  if (status_ == -1) kill(pid_, number);
}

bool Process::wait(std::int64_t timeout_us) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::microseconds(timeout_us);
  while (status_ == -1) {
    int status = 0;
    const pid_t ended = waitpid(pid_, &status, WNOHANG);
    if (ended == pid_) {
      status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      break;
    }
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::microseconds(500));
  }
  return true;
}

PostgresServer& PostgresServer::instance(bool durable) {
  static PostgresServer server(durable);
  return server;
}

PostgresServer::PostgresServer(bool durable) {
  std::string bin = "/usr/lib/postgresql/15/bin";
  if (const char* given = std::getenv("GAMEFORGE_POSTGRES_BIN")) bin = given;
  if (!std::filesystem::exists(bin + "/initdb")) {
    why_not_ = "no PostgreSQL server in " + bin;
    return;
  }
  folder_ = std::make_unique<TempFolder>();
  uid_t user = 0;
  gid_t group = 0;
  if (geteuid() == 0) {
    // initdb refuses root.
    const passwd* entry = getpwnam("postgres");
    if (entry == nullptr) entry = getpwnam("nobody");
    need(entry != nullptr, "there is no user that PostgreSQL could run as");
    user = entry->pw_uid;
    group = entry->pw_gid;
    need(chown(folder_->path().c_str(), user, group) == 0, "chown failed");
  }
  const std::string data = folder_->file("data");
  TempFolder logs;
  Process init(
      {bin + "/initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C.UTF-8"},
      logs.file("initdb"), user, group);
  need(init.wait(60'000'000) && init.status() == 0, "initdb failed");
  {
    std::ofstream hba(data + "/pg_hba.conf");
    hba << "local all locked scram-sha-256\nlocal all all trust\n";
  }
  // Tests leave durability off: what they test is the order of what reaches the server, which a killed client cannot
  // change.
  process_ = std::make_unique<Process>(
      std::vector<std::string>{bin + "/postgres", "-D", data, "-k", folder_->path(), "-c", "listen_addresses=", "-c",
                               durable ? "fsync=on" : "fsync=off", "-c", "max_connections=120", "-c",
                               "shared_buffers=32MB", "-c", "deadlock_timeout=200ms"},
      folder_->file("log"), user, group);
  for (int i = 0; i < 600; ++i) {
    if (auto opened = sql::open(url_of("postgres"))) {
      need(static_cast<bool>(opened.value()->execute("CREATE ROLE locked LOGIN PASSWORD 'right'")),
           "CREATE ROLE failed");
      return;
    }
    need(!process_->wait(0), "the PostgreSQL server ended at once");
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  throw std::runtime_error("the PostgreSQL server did not answer");
}

PostgresServer::~PostgresServer() {
  if (!process_) return;
  // Immediate: nothing in it is kept.
  process_->signal(SIGQUIT);
  process_->wait(10'000'000);
}

std::string PostgresServer::url_of(const std::string& database, const std::string& user) const {
  return "postgresql://" + user + "@/" + database + "?host=" + folder_->path();
}

std::string PostgresServer::make_database() {
  const std::string name = "t" + std::to_string(++made_);
  auto maker = sql::open(url_of("postgres")).value();
  need(static_cast<bool>(maker->execute("CREATE DATABASE " + name)), "CREATE DATABASE failed");
  return url_of(name);
}

Place::Place(sql::Dialect which) : dialect(which) {
  url = sqlite() ? "sqlite:" + other.file("x.db") : PostgresServer::instance().make_database();
}

migrate::Settings Place::settings() const {
  migrate::Settings settings;
  settings.url = url;
  settings.folder = folder.path();
  settings.tool_version = "test";
  settings.lock_wait_us = 30'000'000;
  return settings;
}

migrate::Migrator Place::open(migrate::Settings settings) {
  auto opened = migrate::Migrator::open(std::move(settings));
  need(opened.has_value(), opened ? "" : opened.error().message);
  return std::move(opened).value();
}

Result<void> Place::apply(const migrate::Goal& goal) const {
  migrate::Report report;
  return apply(settings(), goal, report);
}

Result<void> Place::apply(migrate::Settings with, const migrate::Goal& goal, migrate::Report& report) const {
  auto migrator = migrate::Migrator::open(std::move(with));
  if (!migrator) return migrator.error();
  return migrator.value().apply(goal, report);
}

std::unique_ptr<sql::Connection> Place::connect() const {
  auto opened = sql::open(url);
  need(opened.has_value(), opened ? "" : opened.error().message);
  return std::move(opened).value();
}

std::string Place::sum() const {
  const auto connection = connect();
  return migrate::fingerprint(migrate::read_catalog(*connection).value());
}

std::vector<std::string> Place::applied() const {
  const auto connection = connect();
  const auto history = migrate::History::read(*connection).value();
  std::vector<std::string> labels;
  for (const auto index : history.applied) labels.push_back(history.rows[index].label);
  return labels;
}

std::unique_ptr<Process> Place::start(std::vector<std::string> arguments, const std::string& output) const {
  std::vector<std::string> all = {GAMEFORGE_MIGRATE_HOST, arguments[0], url, folder.path()};
  all.insert(all.end(), arguments.begin() + 1, arguments.end());
  return std::make_unique<Process>(all, other.file(output));
}

}  // namespace gf::test
