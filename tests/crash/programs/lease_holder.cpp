// A process that drives streams of a journal as it is told on its standard input, and answers on its standard output.
//
//   lease_holder FILE HOLDER TTL_SECONDS
//
//   acquire NOW            takes the lease                             answers "token N"
//   begin STREAM           begins a stream that it holds               answers "ok" or the error
//   claim STREAM NOW       claims it                                   answers "claimed TOKEN VERSION" or "not claimed"
//   append STREAM VERSION  appends under the token it has for it       answers "ok" or the error
//
// The calendar is what it is told: no lease here runs out because a test is slow.
#include <aura/core/asio_runtime.hpp>
#include <aura/sqlite/journal.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>

#include <iostream>
#include <map>
#include <optional>
#include <sstream>
#include <string>

namespace {

class Holder {
 public:
  Holder(const std::string& file, const std::string& name, std::int64_t ttl)
      : name_(name),
        ttl_(std::chrono::seconds(ttl)),
        log_(aura::sqlite::SqliteJournal::open(runtime_, {.path = file}).value()) {}

  std::string acquire(std::int64_t now) {
    lease_ =
        await<aura::Lease>([&](auto done) { log_->acquire_lease(name_, ttl_, at(now), std::move(done)); }).value();
    return "token " + std::to_string(static_cast<std::uint64_t>(lease_.token));
  }

  std::string begin(const std::string& stream) {
    aura::Append birth{stream,
                       0,
                       lease_.token,
                       {record()},
                       aura::StreamIndex{"running", true, {}, {}},
                       aura::StreamBirth{"saga", name_}};
    tokens_[stream] = lease_.token;
    return commit(std::move(birth));
  }

  std::string claim(const std::string& stream, std::int64_t now) {
    const auto claimed = await<std::vector<aura::ClaimedStream>>(
        [&](auto done) { log_->claim(lease_, {stream}, at(now), std::move(done)); });
    if (!claimed) return to_string(claimed.error());
    if (claimed->empty()) return "not claimed";
    tokens_[stream] = claimed->front().token;
    return "claimed " + std::to_string(static_cast<std::uint64_t>(claimed->front().token)) + " " +
           std::to_string(claimed->front().version);
  }

  std::string append(const std::string& stream, std::uint64_t version) {
    return commit({stream, version, tokens_[stream], {record()}, {}, {}});
  }

 private:
  static aura::WallTime at(std::int64_t seconds) { return aura::WallTime(std::chrono::seconds(seconds)); }

  aura::Record record() const {
    aura::Record made;
    made.payload = name_.str();
    return made;
  }

  std::string commit(aura::Append append) {
    aura::Batch batch;
    batch.appends.push_back(std::move(append));
    const auto done = await<void>([&](auto handler) { log_->commit(std::move(batch), std::move(handler)); });
    return done ? "ok" : to_string(done.error());
  }

  template <class T, class Initiate>
  aura::Result<T> await(Initiate initiate) {
    std::optional<aura::Result<T>> result;
    initiate([&](aura::Result<T> outcome) { result.emplace(std::move(outcome)); });
    context_.restart();
    context_.run();
    return std::move(*result);
  }

  boost::asio::io_context context_;
  boost::asio::thread_pool pool_{1};
  aura::AsioRuntime runtime_{context_.get_executor(), pool_.get_executor()};
  aura::HolderId name_;
  aura::Duration ttl_;
  std::unique_ptr<aura::sqlite::SqliteJournal> log_;
  aura::Lease lease_;
  std::map<std::string, aura::FencingToken> tokens_;
};

std::string answer(Holder& holder, std::istringstream words) {
  std::string verb, stream;
  std::int64_t number = 0;
  words >> verb;
  if (verb == "acquire") return words >> number, holder.acquire(number);
  words >> stream >> number;
  if (verb == "begin") return holder.begin(stream);
  if (verb == "claim") return holder.claim(stream, number);
  if (verb == "append") return holder.append(stream, static_cast<std::uint64_t>(number));
  return "what is " + verb + "?";
}

}  // namespace

int main(int count, char** words) try {
  if (count != 4) return 2;
  Holder holder(words[1], words[2], std::stoll(words[3]));
  for (std::string line; std::getline(std::cin, line);)
    std::cout << answer(holder, std::istringstream(line)) << std::endl;
  return 0;
} catch (const std::exception& error) {
  std::cout << error.what() << std::endl;
  return 1;
}
