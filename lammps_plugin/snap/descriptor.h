// Bispectrum descriptors of atoms and their derivatives, for the pair style and for Python. Knows neither of them.

#ifndef FITSNAP_NN_SNAP_DESCRIPTOR_H
#define FITSNAP_NN_SNAP_DESCRIPTOR_H

#include "kernel.h"

#include <cstddef>
#include <new>
#include <string>
#include <vector>

namespace fitsnap_nn::snap {

// Atoms and the vectors from each to its neighbours; those beyond the cutoff are allowed and count for nothing.
struct Neighbourhoods {
  int atoms;
  const int *elements;              // [atom]: index, from 0
  const int *first;                 // [atom + 1]: where an atom's neighbours start
  const int *neighbour_elements;    // [neighbour]
  const double *displacements;      // [neighbour][xyz]
};

// Memory as the widest vector registers want it.
template <class T> struct Aligned {
  using value_type = T;
  static constexpr std::align_val_t ALIGNMENT{64};
  Aligned() = default;
  template <class U> Aligned(const Aligned<U> &) {}
  T *allocate(std::size_t count) { return static_cast<T *>(::operator new(count * sizeof(T), ALIGNMENT)); }
  void deallocate(T *memory, std::size_t) { ::operator delete(memory, ALIGNMENT); }
  template <class U> bool operator==(const Aligned<U> &) const { return true; }
  template <class U> bool operator!=(const Aligned<U> &) const { return false; }
};
using Doubles = std::vector<double, Aligned<double>>;

class Descriptor {
 public:
  // `instruction_set` names a kernel; the best that this processor has if it is empty.
  // Throws std::invalid_argument where options or name make no sense.
  explicit Descriptor(const Options &options, const std::string &instruction_set = "");

  int size() const { return view_.components; }
  double cutoff(int element, int other) const;
  const char *instruction_set() const { return kernel_->name; }

  // The atoms that all that follows is about.
  void load(const Neighbourhoods &atoms);
  // [atom][component]
  void components(double *values);
  // beta [atom][component] = dE/dB -> [neighbour][xyz]: derivative of E by the displacement.
  void forces(const double *beta, double *values);
  // [neighbour][xyz][component]: derivatives of the atom's components by the displacement.
  void gradients(double *values);
  // Bytes held.
  double memory_usage() const;

 private:
  // As many atoms as the kernel takes at a time; fewer in the last group. They share slots, of which they leave some
  // empty where they have fewer neighbours than others.
  struct Group {
    int first_atom, atoms;
    std::size_t first_slot;
    int slots;
  };

  void add_group(const Neighbourhoods &atoms, int first_atom, int count);
  void set_slot(double *field, int element, int other, const double *displacement, double r) const;
  void weigh(int element, int other, double r, double &weight, double &slope) const;
  Batch batch(std::size_t group);
  template <class Copy> void each_neighbour(const Group &group, Copy copy) const;

  Options options_;
  Tables tables_;
  TablesView view_;
  const Kernel *kernel_;
  std::size_t neighbour_count_ = 0;
  std::vector<Group> groups_;
  std::vector<int> elements_;         // [atom]
  std::vector<int> channel_slots_;    // [group][channel + 1], from the group's first slot
  std::vector<int> neighbours_;       // [slot][lane]: which neighbour, or EMPTY
  Doubles slots_, densities_, scratch_;
};

}    // namespace fitsnap_nn::snap

#endif
