#include "descriptor_file.h"

#include "comm.h"
#include "error.h"
#include "utils.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <set>
#include <sstream>

using namespace LAMMPS_NS;

namespace fitsnap_nn {
namespace {

constexpr int MISSING = -1;
constexpr int MAX_ELEMENTS = 100;    // sanity limit: more is a typing error

// Contents of the file on all ranks. LAMMPS also searches the folders of LAMMPS_POTENTIALS.
std::string read_and_broadcast(LAMMPS *lmp, const std::string &name) {
  std::string text;
  int length = 0;
  if (lmp->comm->me == 0) {
    if (FILE *file = utils::open_potential(name, lmp, nullptr)) {
      char buffer[4096];
      while (std::size_t count = std::fread(buffer, 1, sizeof(buffer), file))
        text.append(buffer, count);
      std::fclose(file);
      length = static_cast<int>(text.size());
    } else {
      length = MISSING;
    }
  }
  MPI_Bcast(&length, 1, MPI_INT, 0, lmp->world);
  if (length == MISSING)
    lmp->error->all(FLERR, "Cannot open SNAP parameter file {}", name);
  text.resize(length);
  MPI_Bcast(text.data(), length, MPI_CHAR, 0, lmp->world);
  return text;
}

class Parser {
 public:
  Parser(LAMMPS *lmp, const std::string &name) : lmp_(lmp), name_(name) {}

  DescriptorFile parse(const std::string &text) {
    file_.text = text;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      ++line_;
      const std::vector<std::string> words = utils::split_words(utils::trim_comment(line));
      if (!words.empty())
        parse_line(words);
    }
    for (const char *keyword : {"rcutfac", "twojmax", "nelems", "elems", "radelems", "welems"})
      if (!seen_.count(keyword))
        fail(std::string("lacks the line `") + keyword + " ...`");
    const snap::Options &options = file_.options;
    const bool inner = seen_.count("sinnerelems") && seen_.count("dinnerelems");
    if (options.switchinnerflag != inner || seen_.count("sinnerelems") != seen_.count("dinnerelems"))
      fail("is inconsistent: switchinnerflag 1 requires the lines sinnerelems and dinnerelems, 0 allows neither");
    return file_;
  }

 private:
  void parse_line(const std::vector<std::string> &words) {
    snap::Options &options = file_.options;
    const std::map<std::string, double *> numbers{
        {"rcutfac", &options.rcutfac}, {"rfac0", &options.rfac0}, {"rmin0", &options.rmin0}};
    const std::map<std::string, bool *> flags{
        {"switchflag", &options.switchflag},     {"bzeroflag", &options.bzeroflag},
        {"chemflag", &options.chemflag},         {"bnormflag", &options.bnormflag},
        {"wselfallflag", &options.wselfallflag}, {"switchinnerflag", &options.switchinnerflag}};
    const std::map<std::string, std::vector<double> *> lists{{"radelems", &options.radii},
                                                             {"welems", &options.weights},
                                                             {"sinnerelems", &options.sinner},
                                                             {"dinnerelems", &options.dinner}};
    const std::string &keyword = words[0];
    if (!seen_.insert(keyword).second)
      fail_at_line("duplicate keyword " + keyword);
    if (keyword == "elems") {
      expect_values(words, elements_);
      file_.elements.assign(words.begin() + 1, words.end());
      if (std::set<std::string>(words.begin() + 1, words.end()).size() != file_.elements.size())
        fail_at_line("an element is listed twice");
    } else if (auto list = lists.find(keyword); list != lists.end()) {
      expect_values(words, elements_);
      list->second->clear();
      for (auto word = words.begin() + 1; word != words.end(); ++word)
        list->second->push_back(number(*word));
    } else {
      expect_values(words, 1);
      if (auto value = numbers.find(keyword); value != numbers.end())
        *value->second = number(words[1]);
      else if (auto flag = flags.find(keyword); flag != flags.end())
        *flag->second = integer(words[1], 0, 1) != 0;
      else if (keyword == "twojmax")
        options.twojmax = integer(words[1], 0, snap::MAX_TWOJMAX);
      else if (keyword == "nelems")
        elements_ = integer(words[1], 1, MAX_ELEMENTS);
      else
        fail_at_line("unknown keyword " + keyword);
    }
  }

  void expect_values(const std::vector<std::string> &words, int count) {
    if (count == 0)
      fail_at_line("nelems must come before " + words[0]);
    if (static_cast<int>(words.size()) != count + 1)
      fail_at_line(words[0] + " takes " + std::to_string(count) + " value(s), found " +
                   std::to_string(words.size() - 1));
  }

  double number(const std::string &word) {
    const double value = utils::is_double(word) ? std::strtod(word.c_str(), nullptr) : HUGE_VAL;
    if (!std::isfinite(value))
      fail_at_line(word + " is not a number");
    return value;
  }

  int integer(const std::string &word, int minimum, int maximum) {
    const double value = utils::is_integer(word) ? std::strtod(word.c_str(), nullptr) : HUGE_VAL;
    if (value < minimum || value > maximum)
      fail_at_line(word + " is not an integer from " + std::to_string(minimum) + " to " + std::to_string(maximum));
    return static_cast<int>(value);
  }

  [[noreturn]] void fail(const std::string &what) { lmp_->error->all(FLERR, "SNAP parameter file {} {}", name_, what); }
  [[noreturn]] void fail_at_line(const std::string &what) {
    lmp_->error->all(FLERR, "SNAP parameter file {}:{}: {}", name_, line_, what);
  }

  LAMMPS *lmp_;
  std::string name_;
  int line_ = 0;
  int elements_ = 0;
  std::set<std::string> seen_;
  DescriptorFile file_;
};

}    // namespace

DescriptorFile read_descriptor_file(LAMMPS *lmp, const std::string &name) {
  return Parser(lmp, name).parse(read_and_broadcast(lmp, name));
}

}    // namespace fitsnap_nn
