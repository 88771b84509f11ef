#include "descriptor.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace fitsnap_nn::snap {

#if defined(__x86_64__)
extern const Kernel kernel_sse2, kernel_avx2, kernel_avx512;
#else
extern const Kernel kernel_generic;
#endif

namespace {

constexpr double PI = 3.14159265358979323846;
constexpr double MIN_DISTANCE = 1e-10;    // coincident atoms have no direction; LAMMPS skips such pairs, too
constexpr int EMPTY = -1;

// The kernels that this processor can run, best first. All features that the flags in build.py allow the compiler to
// use are queried.
std::vector<const Kernel *> usable_kernels() {
  std::vector<const Kernel *> kernels;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    kernels.push_back(&kernel_avx512);
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    kernels.push_back(&kernel_avx2);
  kernels.push_back(&kernel_sse2);
#else
  kernels.push_back(&kernel_generic);
#endif
  return kernels;
}

const Kernel *choose_kernel(const std::string &name) {
  const std::vector<const Kernel *> kernels = usable_kernels();
  if (name.empty())
    return kernels.front();
  for (const Kernel *kernel : kernels)
    if (name == kernel->name)
      return kernel;
  throw std::invalid_argument("this processor does not support the instruction set " + name);
}

const Options &validated(const Options &options) {
  const std::size_t elements = options.radii.size();
  if (elements == 0)
    throw std::invalid_argument("no elements are given");
  if (options.weights.size() != elements)
    throw std::invalid_argument("the numbers of radii (radelem) and weights (wj) differ");
  if (options.switchinnerflag && (options.sinner.size() != elements || options.dinner.size() != elements))
    throw std::invalid_argument("switchinnerflag requires sinner and dinner for each element");
  if (options.twojmax < 0)
    throw std::invalid_argument("twojmax is negative");
  if (options.twojmax > MAX_TWOJMAX)
    throw std::invalid_argument("twojmax is larger than " + std::to_string(MAX_TWOJMAX));
  const double min_cutoff = 2.0 * options.rcutfac * *std::min_element(options.radii.begin(), options.radii.end());
  if (!(min_cutoff > std::max(options.rmin0, 0.0)))
    throw std::invalid_argument("the smallest cutoff, 2 rcutfac times the smallest radius, does not exceed rmin0");
  return options;
}

}    // namespace

Descriptor::Descriptor(const Options &options, const std::string &instruction_set)
    : options_(validated(options)), tables_(options_), view_(tables_.view()), kernel_(choose_kernel(instruction_set)) {}

double Descriptor::cutoff(int element, int other) const {
  return (options_.radii[element] + options_.radii[other]) * options_.rcutfac;
}

void Descriptor::load(const NeighbourLists &atoms) {
  const int lanes = kernel_->lanes;
  groups_.clear();
  channel_slots_.clear();
  neighbours_.clear();
  slots_.clear();
  elements_.assign(atoms.elements, atoms.elements + atoms.atoms);
  neighbour_count_ = atoms.atoms ? atoms.first[atoms.atoms] : 0;
  for (int first = 0; first < atoms.atoms; first += lanes)
    add_group(atoms, first, std::min(lanes, atoms.atoms - first));
  const std::size_t ulisttot_size = std::size_t{2} * view_.channels * view_.idxu_half_max * lanes;
  ulisttot_.assign(groups_.size() * ulisttot_size, 0.0);
  scratch_.resize(std::max(scratch_.size(), kernel_->scratch_size(view_)));
  for (std::size_t group = 0; group < groups_.size(); ++group) {
    const Batch batch = batch_of(group);
    for (int lane = 0; lane < groups_[group].atoms; ++lane) {
      const int self = options_.chemflag ? elements_[groups_[group].first_atom + lane] : 0;
      for (int channel = 0; channel < view_.channels; ++channel) {
        if (channel != self && !options_.wselfallflag)
          continue;
        // Self contribution: the central atom is at the pole of the 3-sphere, where U is the unit matrix (wself = 1).
        for (int j = 0; j <= view_.twojmax; ++j)
          for (int m = 0; 2 * m <= j; ++m) {
            const int element = channel * view_.idxu_half_max + view_.idxu_half_block[j] + m * (j + 2);
            batch.ulisttot[2 * element * lanes + lane] = 1.0;
          }
      }
    }
    kernel_->compute_ui(view_, batch);
  }
}

// Assigns the neighbours within the cutoff to slots, channel by channel. An atom's neighbours keep their order,
// whatever other atoms are in the group, so that its sums round the same way.
void Descriptor::add_group(const NeighbourLists &atoms, int first_atom, int count) {
  const int lanes = kernel_->lanes;
  const std::size_t first_slot = neighbours_.size() / lanes;
  int slot = 0;
  channel_slots_.push_back(0);
  for (int channel = 0; channel < view_.channels; ++channel) {
    int channel_size = 0;
    for (int lane = 0; lane < count; ++lane) {
      const int element = atoms.elements[first_atom + lane];
      int used = 0;
      for (int n = atoms.first[first_atom + lane]; n < atoms.first[first_atom + lane + 1]; ++n) {
        const int other = atoms.neighbour_elements[n];
        if (options_.chemflag && other != channel)
          continue;
        const double *d = atoms.displacements + 3 * std::size_t(n);
        const double r = std::sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2]);
        if (!(r < cutoff(element, other)) || r < MIN_DISTANCE)
          continue;
        const std::size_t place = first_slot + slot + used;
        if (used++ == channel_size) {
          ++channel_size;
          neighbours_.resize((place + 1) * lanes, EMPTY);
          slots_.resize((place + 1) * lanes * SLOT_FIELDS, 0.0);
        }
        neighbours_[place * lanes + lane] = n;
        fill_slot(&slots_[place * lanes * SLOT_FIELDS + lane], element, other, d, r);
      }
    }
    slot += channel_size;
    channel_slots_.push_back(slot);
  }
  groups_.push_back({first_atom, count, first_slot, slot});
}

// Maps a displacement to a point on the 3-sphere, as LAMMPS does: theta0 = rfac0 pi (r - rmin0) / (rcut - rmin0),
// z0 = r / tan(theta0), r0^2 = r^2 + z0^2. The neighbour is represented by the rotation with Cayley-Klein parameters
// a = (z0 - i z) / r0, b = (y - i x) / r0.
void Descriptor::fill_slot(double *field, int element, int other, const double *displacement, double r) const {
  const int lanes = kernel_->lanes;
  auto set = [&](SlotField which, double value) { field[which * lanes] = value; };
  const double rate = options_.rfac0 * PI / (cutoff(element, other) - options_.rmin0);
  const double theta = rate * (r - options_.rmin0);
  const double z0 = r * std::cos(theta) / std::sin(theta);
  const double dz0_dr = z0 / r - rate * (r * r + z0 * z0) / r;
  const double r0inv = 1.0 / std::sqrt(r * r + z0 * z0);
  const double dr0inv_dr = -r0inv * r0inv * r0inv * (r + z0 * dz0_dr);
  double sfac, dsfac;
  compute_sfac(element, other, r, sfac, dsfac);
  set(A_RE, r0inv * z0);
  set(A_IM, -r0inv * displacement[2]);
  set(B_RE, r0inv * displacement[1]);
  set(B_IM, -r0inv * displacement[0]);
  set(SFAC, sfac);
  set(DSFAC, dsfac);
  set(UNIT_X, displacement[0] / r);
  set(UNIT_Y, displacement[1] / r);
  set(UNIT_Z, displacement[2] / r);
  set(R0INV, r0inv);
  set(DA_RE_DR, dz0_dr * r0inv + z0 * dr0inv_dr);
  set(R_DR0INV_DR, r * dr0inv_dr);
}

// Weight of the neighbour's element times the outer switching function and, with switchinnerflag, the inner one; and
// the derivative by r.
void Descriptor::compute_sfac(int element, int other, double r, double &sfac, double &dsfac) const {
  double outer = 1.0, d_outer = 0.0;
  if (options_.switchflag && r > options_.rmin0) {
    const double rate = PI / (cutoff(element, other) - options_.rmin0);
    outer = 0.5 * (std::cos((r - options_.rmin0) * rate) + 1.0);
    d_outer = -0.5 * std::sin((r - options_.rmin0) * rate) * rate;
  }
  double inner = 1.0, d_inner = 0.0;
  if (options_.switchinnerflag) {
    const double centre = 0.5 * (options_.sinner[element] + options_.sinner[other]);
    const double half_width = 0.5 * (options_.dinner[element] + options_.dinner[other]);
    if (r <= centre - half_width) {
      inner = 0.0;
    } else if (r < centre + half_width) {
      const double rate = 0.5 * PI / half_width;
      const double phase = 0.5 * PI + (r - centre) * rate;
      inner = 0.5 * (1.0 - std::cos(phase));
      d_inner = 0.5 * std::sin(phase) * rate;
    }
  }
  sfac = options_.weights[other] * outer * inner;
  dsfac = options_.weights[other] * (d_outer * inner + outer * d_inner);
}

Batch Descriptor::batch_of(std::size_t group) {
  const int lanes = kernel_->lanes;
  const std::size_t ulisttot_size = std::size_t{2} * view_.channels * view_.idxu_half_max * lanes;
  return {slots_.data() + groups_[group].first_slot * SLOT_FIELDS * lanes,
          channel_slots_.data() + group * (view_.channels + 1), ulisttot_.data() + group * ulisttot_size,
          scratch_.data()};
}

template <class Copy> void Descriptor::for_each_neighbour(const Group &group, Copy copy) const {
  const int lanes = kernel_->lanes;
  for (int slot = 0; slot < group.slots; ++slot)
    for (int lane = 0; lane < group.atoms; ++lane) {
      const int neighbour = neighbours_[(group.first_slot + slot) * lanes + lane];
      if (neighbour != EMPTY)
        copy(slot, lane, static_cast<std::size_t>(neighbour));
    }
}

void Descriptor::components(double *values) {
  const int lanes = kernel_->lanes, count = size();
  Doubles packed(std::size_t(count) * lanes);
  for (std::size_t number = 0; number < groups_.size(); ++number) {
    const Group &group = groups_[number];
    kernel_->compute_bi(view_, batch_of(number), packed.data());
    for (int lane = 0; lane < group.atoms; ++lane) {
      const int atom = group.first_atom + lane;
      const int channel = options_.chemflag ? elements_[atom] : 0;
      for (int k = 0; k < count; ++k)
        values[std::size_t(atom) * count + k] = packed[k * lanes + lane] - tables_.bzero(k, channel);
    }
  }
}

void Descriptor::forces(const double *beta, double *values) {
  const int lanes = kernel_->lanes, count = size();
  Doubles packed_beta(std::size_t(count) * lanes), packed;
  std::fill(values, values + 3 * neighbour_count_, 0.0);
  for (std::size_t number = 0; number < groups_.size(); ++number) {
    const Group &group = groups_[number];
    for (int lane = 0; lane < group.atoms; ++lane)
      for (int k = 0; k < count; ++k)
        packed_beta[k * lanes + lane] = beta[std::size_t(group.first_atom + lane) * count + k];
    packed.resize(std::max(packed.size(), std::size_t(group.slots) * 3 * lanes));
    kernel_->compute_deidrj(view_, batch_of(number), packed_beta.data(), packed.data());
    for_each_neighbour(group, [&](int slot, int lane, std::size_t neighbour) {
      for (int k = 0; k < 3; ++k)
        values[3 * neighbour + k] = packed[(3 * slot + k) * lanes + lane];
    });
  }
}

void Descriptor::gradients(double *values) {
  const int lanes = kernel_->lanes, count = size();
  Doubles packed;
  scratch_.resize(std::max(scratch_.size(), kernel_->dbidrj_scratch_size(view_)));
  std::fill(values, values + 3 * neighbour_count_ * count, 0.0);
  for (std::size_t number = 0; number < groups_.size(); ++number) {
    const Group &group = groups_[number];
    packed.resize(std::max(packed.size(), std::size_t(group.slots) * 3 * count * lanes));
    kernel_->compute_dbidrj(view_, batch_of(number), packed.data());
    for_each_neighbour(group, [&](int slot, int lane, std::size_t neighbour) {
      const double *from = packed.data() + std::size_t(slot) * 3 * count * lanes + lane;
      for (int k = 0; k < 3 * count; ++k)
        values[3 * neighbour * count + k] = from[k * lanes];
    });
  }
}

double Descriptor::memory_usage() const {
  const std::size_t doubles = slots_.capacity() + ulisttot_.capacity() + scratch_.capacity();
  const std::size_t ints = neighbours_.capacity() + channel_slots_.capacity() + elements_.capacity();
  return static_cast<double>(doubles * sizeof(double) + ints * sizeof(int) + groups_.capacity() * sizeof(Group));
}

}    // namespace fitsnap_nn::snap
