// A latency estimator written down as JSON, and read back: what was learned outlives a restart.
#pragma once

#include <aura/operational/latency_estimator.hpp>

#include <cmath>
#include <cstdint>
#include <exception>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace aura {

namespace detail {

inline constexpr std::int64_t estimator_schema = 1;

template <class Json>
Json export_pair(const LatencyPair& pair, std::uint32_t class_index, std::uint32_t node_index) {
  std::vector<double> thetas;
  for (const CoverageTracker& tracker : pair.trackers) thetas.push_back(tracker.theta());
  return {{"class", class_index}, {"node", node_index},
          {"level", pair.level},  {"observations", pair.observations},
          {"thetas", thetas},     {"sketch", export_sketch<Json>(pair.sketch)}};
}

template <class Json>
Result<LatencyPair> import_pair(const Json& json, std::vector<CoverageTracker> trackers) {
  const auto thetas = json.at("thetas").template get<std::vector<double>>();
  if (thetas.size() != trackers.size()) throw std::invalid_argument("a pair has not one theta for each coverage");
  for (std::size_t k = 0; k < trackers.size(); ++k) trackers[k].set_theta(thetas[k]);
  auto sketch = import_sketch(json.at("sketch"));
  if (!sketch) return sketch.error();
  LatencyPair pair{.sketch = std::move(*sketch),
                   .trackers = std::move(trackers),
                   .level = json.at("level").template get<double>(),
                   .observations = static_cast<std::uint64_t>(whole_number(json.at("observations")))};
  if (!(std::fabs(pair.level) <= static_cast<double>(sketch_buckets_max)) || pair.observations == 0 ||
      pair.observations > std::uint64_t{1} << 53)
    return Error{core_errc::bad_encoding, ErrorClass::permanent, "a pair's level or observations are none"};
  return pair;
}

template <class Json>
Result<void> import_into(LatencyEstimator& estimator, const Json& json,
                         const std::vector<CoverageTracker>& trackers) {
  for (const char* list : {"nodes", "classes", "pairs"})  // a text would be taken for a list of itself
    if (!json.at(list).is_array()) throw std::invalid_argument(std::string(list) + " is no list");
  std::vector<std::uint32_t> classes, nodes;
  for (const Json& name : json.at("nodes")) {
    const auto index = estimator.node_index(name.template get<std::string>());
    if (!index) return index.error();
    nodes.push_back(*index);
  }
  for (const Json& entry : json.at("classes")) {
    const auto index = estimator.class_index(entry.at("name").template get<std::string>());
    if (!index) return index.error();
    classes.push_back(*index);
    const auto pool = import_sketch(entry.at("pool"));
    if (!pool) return pool.error();
    if (auto merged = estimator.merge_pool(*index, *pool); !merged) return merged;
  }
  for (const Json& entry : json.at("pairs")) {
    const auto pair = import_pair(entry, trackers);
    if (!pair) return pair.error();
    auto merged = estimator.merge_pair(classes.at(static_cast<std::size_t>(whole_number(entry.at("class")))),
                                       nodes.at(static_cast<std::size_t>(whole_number(entry.at("node")))), *pair);
    if (!merged) return merged;
  }
  estimator.refit();
  return {};
}

}  // namespace detail

/// With a format version. `Json` is any `nlohmann::basic_json`; a template, so that who only includes this pays for no
/// JSON. Some 5 KB of text for each pair that was observed.
template <class Json>
Json export_estimator(const LatencyEstimator& estimator) {
  Json out{{"format", "aura.latency_estimator"},
           {"schema", detail::estimator_schema},
           {"coverages", estimator.options().coverages},
           {"nodes", Json::array()},
           {"classes", Json::array()},
           {"pairs", Json::array()}};
  for (std::uint32_t n = 0; n < estimator.nodes(); ++n) out["nodes"].push_back(std::string(estimator.node_name(n)));
  for (std::uint32_t c = 0; c < estimator.classes(); ++c) {
    out["classes"].push_back(
        Json{{"name", std::string(estimator.class_name(c))}, {"pool", export_sketch<Json>(estimator.pool(c))}});
    for (std::uint32_t n = 0; n < estimator.nodes(); ++n)
      if (const LatencyPair* pair = estimator.pair(c, n))
        out["pairs"].push_back(detail::export_pair<Json>(*pair, c, n));
  }
  return out;
}

/// An estimator with `options` that goes on from what was written. The limits are those of `options`, never the
/// writer's. core_errc::bad_encoding where the JSON is none, core_errc::newer_format where a later version wrote it;
/// estimator_errc::differs where coverages, range or half-life are not those of `options`, too_many_classes and
/// too_many_nodes, bad_options for options that none can have.
template <class Json>
Result<LatencyEstimator> import_estimator(const Json& json, const LatencyEstimatorOptions& options) try {
  if (json.at("format") != "aura.latency_estimator")
    return Error{core_errc::bad_encoding, ErrorClass::permanent, "the JSON is no latency estimator"};
  if (detail::whole_number(json.at("schema")) > detail::estimator_schema)
    return Error{core_errc::newer_format, ErrorClass::permanent, "the latency estimator is of a newer schema than 1"};
  auto estimator = LatencyEstimator::make(options);
  if (!estimator) return estimator;
  if (json.at("coverages").template get<std::vector<double>>() != options.coverages)
    return Error{estimator_errc::differs, ErrorClass::permanent, "the latency estimator is of other coverages"};
  std::vector<CoverageTracker> trackers;
  for (const double coverage : options.coverages)
    trackers.push_back(*CoverageTracker::make({.coverage = coverage, .step = options.step}));
  if (auto done = detail::import_into(*estimator, json, trackers); !done) return done.error();
  return estimator;
} catch (const std::exception& fault) {
  return Error{core_errc::bad_encoding, ErrorClass::permanent,
               std::string("the latency estimator does not parse: ") + fault.what()};
}

}  // namespace aura
