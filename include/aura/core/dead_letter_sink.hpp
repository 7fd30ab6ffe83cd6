// What failed for good, and where any part of a host can put it.
#pragma once

#include <aura/core/error.hpp>
#include <aura/core/result.hpp>
#include <aura/core/time.hpp>

#include <boost/asio/any_completion_handler.hpp>

#include <cstdint>
#include <string>
#include <utility>

namespace aura {

/// Work that failed for good, with everything needed to try it again.
struct DeadLetter {
  std::string id{};        ///< unique in the journal: "order-17/charge/1"
  std::string queue{};     ///< which dead letter queue it is in
  std::string source{};    ///< what sort of work failed ("saga")
  std::string what{};      ///< for people: "checkout v2 order-17: compensation of charge"
  std::string redrive{};   ///< where to send it again, in the source's own terms: "order-17 charge"
  std::string payload{};   ///< what the work was given
  Error error{};         ///< the last one
  std::uint32_t attempts = 0;
  std::uint32_t redrives = 0;  ///< how often it was redriven and came back
  WallTime first_failure{}, last_failure{};

  friend bool operator==(const DeadLetter&, const DeadLetter&) = default;
};

/// Keeps a letter durably, or says why not: `offer(letter, token)`, `void(Result<void>)`.
template <class S>
concept dead_letter_sink =
    requires(S& sink, DeadLetter letter, boost::asio::any_completion_handler<void(Result<void>)> on_done) {
      sink.offer(std::move(letter), std::move(on_done));
    };

}  // namespace aura
