#include "tables.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

namespace fitsnap_nn::snap {

namespace {

double factorial(int n) {
  double product = 1.0;
  for (int k = 2; k <= n; ++k)
    product *= k;
  return product;
}

}    // namespace

// Racah's formula. All factorials have integer arguments although the angular momenta may be half-integer.
double clebsch_gordan(int j1, int m1, int j2, int m2, int j) {
  const int aa = 2 * m1 - j1, bb = 2 * m2 - j2, cc = aa + bb;
  if (std::abs(cc) > j)
    return 0.0;
  const int first = std::max({0, (j2 - j - aa) / 2, (j1 - j + bb) / 2});
  const int last = std::min({(j1 + j2 - j) / 2, (j1 - aa) / 2, (j2 + bb) / 2});
  double sum = 0.0;
  for (int z = first; z <= last; ++z) {
    const double denominator = factorial(z) * factorial((j1 + j2 - j) / 2 - z) * factorial((j1 - aa) / 2 - z) *
                               factorial((j2 + bb) / 2 - z) * factorial((j - j2 + aa) / 2 + z) *
                               factorial((j - j1 - bb) / 2 + z);
    sum += (z % 2 ? -1.0 : 1.0) / denominator;
  }
  const double triangle = factorial((j1 + j2 - j) / 2) * factorial((j1 - j2 + j) / 2) * factorial((j2 - j1 + j) / 2) /
                          factorial((j1 + j2 + j) / 2 + 1);
  const double states = factorial((j1 + aa) / 2) * factorial((j1 - aa) / 2) * factorial((j2 + bb) / 2) *
                        factorial((j2 - bb) / 2) * factorial((j + cc) / 2) * factorial((j - cc) / 2) * (j + 1);
  return sum * std::sqrt(triangle * states);
}

Tables::Tables(const Options &options) : options_(options), channels_(options.chemflag ? options.elements() : 1) {
  int half = 0, full = 0;
  for (int j = 0; j <= options.twojmax; ++j) {
    idxu_half_block_.push_back(half);
    idxu_block_.push_back(full);
    half += (j / 2 + 1) * (j + 1);
    full += (j + 1) * (j + 1);
    for (int mb = 0; 2 * mb <= j; ++mb)
      for (int ma = 0; ma <= j; ++ma)
        norm_.push_back(std::sqrt(factorial(j - ma) * factorial(ma) / (factorial(j - mb) * factorial(mb))));
  }
  idxu_half_block_.push_back(half);
  idxu_block_.push_back(full);
  build_idxb();
  build_idxz();
}

TablesView Tables::view() const {
  return {options_.twojmax,
          channels_,
          static_cast<int>(idxb_.size()),
          idxu_half_block_.back(),
          idxu_block_.back(),
          idxu_half_block_.data(),
          idxu_block_.data(),
          norm_.data(),
          upairs_.data(),
          static_cast<int>(upairs_.size()),
          idxz_.data(),
          static_cast<int>(idxz_.size()),
          terms_.data(),
          cg_rows_.data(),
          cglist_.data()};
}

double Tables::bzero(int component, int channel) const {
  const BIndex &c = idxb_[component];
  const bool self = c.channel1 == channel && c.channel2 == channel && c.channel3 == channel;
  if (!options_.bzeroflag || !(self || options_.wselfallflag))
    return 0.0;
  return options_.bnormflag ? 1.0 : c.j + 1.0;
}

// In the order of LAMMPS: elements are the outermost indices, then j1 >= j2 and j >= j1.
void Tables::build_idxb() {
  for (int channel1 = 0; channel1 < channels_; ++channel1)
    for (int channel2 = 0; channel2 < channels_; ++channel2)
      for (int channel3 = 0; channel3 < channels_; ++channel3)
        for (int j1 = 0; j1 <= options_.twojmax; ++j1)
          for (int j2 = 0; j2 <= j1; ++j2)
            for (int j = j1 - j2; j <= std::min(options_.twojmax, j1 + j2); j += 2)
              if (j >= j1)
                idxb_.push_back({channel1, j1, channel2, j2, channel3, j});
}

// Apart from a factor j + 1, B is symmetric in its three U matrices, so its derivative by each of them is the Z matrix
// of the other two (symmetry relation of the paper). Different components share Z matrices: the map collects all terms
// of each.
void Tables::build_idxz() {
  using Key = std::tuple<int, int, int, int, int>;
  std::map<Key, std::vector<BispectrumTerm>> terms;
  auto add = [&](int j1, int channel1, int j2, int channel2, int j, BispectrumTerm term) {
    if (std::tie(j1, channel1) < std::tie(j2, channel2)) {
      std::swap(j1, j2);
      std::swap(channel1, channel2);
    }
    std::vector<BispectrumTerm> &list = terms[{j1, channel1, j2, channel2, j}];
    for (BispectrumTerm &known : list)
      if (known.component == term.component && known.channel == term.channel) {
        known.dbdu_factor += term.dbdu_factor;
        known.b_factor += term.b_factor;
        return;
      }
    list.push_back(term);
  };
  for (int k = 0; k < static_cast<int>(idxb_.size()); ++k) {
    const BIndex &c = idxb_[k];
    const double scale = options_.bnormflag ? 1.0 / (c.j + 1) : 1.0;
    add(c.j1, c.channel1, c.j2, c.channel2, c.j, {k, c.channel3, scale, scale});
    add(c.j, c.channel3, c.j2, c.channel2, c.j1, {k, c.channel1, scale * (c.j + 1) / (c.j1 + 1), 0.0});
    add(c.j, c.channel3, c.j1, c.channel1, c.j2, {k, c.channel2, scale * (c.j + 1) / (c.j2 + 1), 0.0});
  }
  for (auto &[key, list] : terms) {
    const auto &[j1, channel1, j2, channel2, j] = key;
    std::stable_sort(list.begin(), list.end(),
                     [](const BispectrumTerm &a, const BispectrumTerm &b) { return a.channel < b.channel; });
    const int first = static_cast<int>(terms_.size());
    terms_.insert(terms_.end(), list.begin(), list.end());
    const bool has_b =
        std::any_of(list.begin(), list.end(), [](const BispectrumTerm &term) { return term.b_factor != 0.0; });
    const int number = static_cast<int>(idxz_.size());
    idxz_.push_back({j, find_cg_rows(j1, j2, j), first, static_cast<int>(terms_.size()), has_b});
    if (upairs_.empty() || std::tie(upairs_.back().j1, upairs_.back().channel1, upairs_.back().j2,
                                    upairs_.back().channel2) != std::tie(j1, channel1, j2, channel2))
      upairs_.push_back({channel1, j1, channel2, j2, number, number, number});
    upairs_.back().last_z = number + 1;
    if (!has_b)
      upairs_.back().first_b = number + 1;
  }
}

// First of the rows of (j1, j2, j) in cg_rows_. They do not depend on channels, so each triple is computed once.
int Tables::find_cg_rows(int j1, int j2, int j) {
  const int size = options_.twojmax + 1;
  cg_index_.resize(size * size * size, -1);
  int &index = cg_index_[(j1 * size + j2) * size + j];
  if (index >= 0)
    return index;
  index = static_cast<int>(cg_rows_.size());
  for (int m = 0; m <= j; ++m) {
    const int sum = m + (j1 + j2 - j) / 2;
    const int first = std::max(0, sum - j2), last = std::min(j1, sum);
    cg_rows_.push_back({first, last, sum, static_cast<int>(cglist_.size())});
    for (int m1 = first; m1 <= last; ++m1)
      cglist_.push_back(clebsch_gordan(j1, m1, j2, sum - m1, j));
  }
  return index;
}

}    // namespace fitsnap_nn::snap
