// A journal before another one, that loses requests or answers where a test says so.
#pragma once

#include <aura/core/journal.hpp>
#include <aura/durable/detail/completion.hpp>

#include <boost/asio/async_result.hpp>

#include <functional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

/// What becomes of one operation.
enum class Fate {
  pass,
  refuse,        ///< it does not happen, and fails with `io`
  lose_answer,   ///< it happens, and fails with `io`
  vanish,        ///< it does not happen, and nobody hears of it again: the process died before
  vanish_after,  ///< it happens, and nobody hears of it: the process died after
};

template <aura::journal Inner>
class FallibleJournal {
 public:
  /// Asked for each operation; the batch is null for all but commits.
  std::function<Fate(std::string_view operation, const aura::Batch* batch)> judge;

  FallibleJournal(Inner& inner, boost::asio::any_io_executor executor)
      : inner_(&inner), executor_(std::move(executor)) {}

  template <class Token>
  auto commit(aura::Batch batch, Token&& token) {
    return route<aura::Result<void>>("commit", token, Commit{std::move(batch)});
  }
  template <class Token>
  auto read(std::string stream, std::uint64_t from, std::size_t max, Token&& token) {
    return route<aura::Result<std::vector<aura::Record>>>(
        "read", token, [stream = std::move(stream), from, max](Inner& inner, auto done) {
          inner.read(stream, from, max, std::move(done));
        });
  }
  template <class Token>
  auto head(std::string stream, Token&& token) {
    return route<aura::Result<std::optional<aura::StreamHead>>>(
        "head", token,
        [stream = std::move(stream)](Inner& inner, auto done) { inner.head(stream, std::move(done)); });
  }
  template <class Token>
  auto find(aura::StreamQuery query, Token&& token) {
    return route<aura::Result<aura::StreamPage>>(
        "find", token, [query = std::move(query)](Inner& inner, auto done) { inner.find(query, std::move(done)); });
  }
  template <class Token>
  auto acquire_lease(aura::HolderId holder, aura::Duration ttl, aura::WallTime now, Token&& token) {
    return route<aura::Result<aura::Lease>>(
        "acquire_lease", token, [holder = std::move(holder), ttl, now](Inner& inner, auto done) {
          inner.acquire_lease(holder, ttl, now, std::move(done));
        });
  }
  template <class Token>
  auto renew_lease(aura::Lease lease, aura::Duration ttl, aura::WallTime now, Token&& token) {
    return route<aura::Result<aura::Lease>>(
        "renew_lease", token, [lease = std::move(lease), ttl, now](Inner& inner, auto done) {
          inner.renew_lease(lease, ttl, now, std::move(done));
        });
  }
  template <class Token>
  auto release_lease(aura::Lease lease, Token&& token) {
    return route<aura::Result<void>>("release_lease", token, [lease = std::move(lease)](Inner& inner, auto done) {
      inner.release_lease(lease, std::move(done));
    });
  }
  template <class Token>
  auto claim(aura::Lease lease, std::vector<std::string> streams, aura::WallTime now, Token&& token) {
    return route<aura::Result<std::vector<aura::ClaimedStream>>>(
        "claim", token, [lease = std::move(lease), streams = std::move(streams), now](Inner& inner, auto done) {
          inner.claim(lease, streams, now, std::move(done));
        });
  }
  template <class Token>
  auto prune(aura::Retention retention, Token&& token) {
    return route<aura::Result<std::size_t>>("prune", token, [retention](Inner& inner, auto done) {
      inner.prune(retention, std::move(done));
    });
  }

 private:
  struct Commit {
    aura::Batch batch;
    template <class Done>
    void operator()(Inner& inner, Done done) {
      inner.commit(std::move(batch), std::move(done));
    }
  };

  template <class Call>
  static const aura::Batch* batch_of(const Call& call) {
    if constexpr (std::is_same_v<Call, Commit>) return &call.batch;
    else return nullptr;
  }

  template <class R, class Token, class Call>
  auto route(std::string_view operation, Token& token, Call call) {
    return boost::asio::async_initiate<Token, void(R)>(
        [this, operation](auto handler, Call todo) {
          const Fate fate = judge ? judge(operation, batch_of(todo)) : Fate::pass;
          boost::asio::any_completion_handler<void(R)> done(std::move(handler));
          const auto trouble = [] { return R(aura::Error{aura::journal_errc::io, aura::ErrorClass::transient, "trouble"}); };
          if (fate == Fate::pass) {
            todo(*inner_, std::move(done));
          } else if (fate == Fate::refuse) {
            aura::detail::post_completion(executor_, std::move(done), trouble());
          } else if (fate == Fate::lose_answer) {
            todo(*inner_, boost::asio::any_completion_handler<void(R)>(
                              [where = executor_, trouble, done = std::move(done)](R) mutable {
                                aura::detail::post_completion(where, std::move(done), trouble());
                              }));
          } else if (fate == Fate::vanish_after) {
            todo(*inner_, boost::asio::any_completion_handler<void(R)>([](R) {}));
          }
        },
        token, std::move(call));
  }

  Inner* inner_;
  boost::asio::any_io_executor executor_;
};
