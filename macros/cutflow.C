/// Makes a cut flow: how many entries of a tree are left after each of a list of named cuts, one on top of the other.
///
///     root -l -b -q 'cutflow.C("shms.root", "T", "cuts.txt", "cutflow.root")'
///
/// file   a ROOT file, or a pattern of several (they are chained)
/// tree   the tree's name
/// cuts   a text file with one cut a line, `name: expression` as TTree::Draw takes it; blank lines and lines that begin
///        with # are left out
/// out    a ROOT file for the histogram `cutflow` (one bin a cut, the first is all entries) and the TEfficiency
///        `cutflow_efficiency` of each cut on what the one before it left; "" writes none
/// weight an expression that weighs the entries; "" counts them
///
/// Prints the table: what is left, its share of the step before with the Clopper-Pearson interval of 68.3 % (of the
/// counts), and its share of all. Returns the number of entries left, -1 where something cannot be read, named on
/// stderr.

#include <TChain.h>
#include <TEfficiency.h>
#include <TFile.h>
#include <TH1D.h>
#include <TString.h>
#include <TTreeFormula.h>

#include <cstdio>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace pidlab_cutflow {

using Cuts = std::vector<std::pair<TString, TString>>;

TString trimmed(const std::string& text) { return TString(text.c_str()).Strip(TString::kBoth); }

/// The named cuts of a text file; empty, and a line on stderr, where it cannot be read or holds none.
Cuts read(const char* path)
{
   Cuts cuts;
   std::ifstream file(path);
   if (!file) {
      fprintf(stderr, "cutflow: %s cannot be opened\n", path);
      return cuts;
   }
   for (std::string line; std::getline(file, line);) {
      const auto colon = line.find(':');
      if (trimmed(line).IsNull() || trimmed(line).BeginsWith("#")) continue;
      if (colon == std::string::npos) {
         fprintf(stderr, "cutflow: %s: no `name: expression` in '%s'\n", path, line.c_str());
         return {};
      }
      cuts.emplace_back(trimmed(line.substr(0, colon)), trimmed(line.substr(colon + 1)));
   }
   if (cuts.empty()) fprintf(stderr, "cutflow: %s holds no cuts\n", path);
   return cuts;
}

bool understood(TChain& chain, const TString& name, const TString& expression)
{
   TTreeFormula formula(name, expression, &chain);
   if (formula.GetNdim() > 0) return true;
   fprintf(stderr, "cutflow: the cut %s is not understood: %s\n", name.Data(), expression.Data());
   return false;
}

/// Sum of weights and number of the entries that pass.
std::pair<double, Long64_t> passing(TChain& chain, const TString& cut, const TString& weight)
{
   chain.SetEstimate(chain.GetEntries() + 1);
   const Long64_t n = chain.Draw(weight.IsNull() ? "1" : weight.Data(), cut, "goff");
   double sum = 0;
   for (Long64_t i = 0; i < n; ++i) sum += chain.GetV1()[i];
   return {sum, n};
}

} // namespace pidlab_cutflow

Long64_t cutflow(const char* file = "events.root", const char* tree = "T", const char* cuts = "cuts.txt",
                 const char* out = "", const char* weight = "")
{
   using namespace pidlab_cutflow;
   TChain chain(tree);
   if (chain.Add(file) == 0 || chain.GetEntries() <= 0 || chain.LoadTree(0) < 0) {
      fprintf(stderr, "cutflow: %s holds no tree %s with entries\n", file, tree);
      return -1;
   }
   const Cuts steps = read(cuts);
   if (steps.empty()) return -1;
   const int n = static_cast<int>(steps.size());
   TH1D flow("cutflow", TString::Format("cut flow of %s;;%s", tree, TString(weight).IsNull() ? "entries" : "sum of weights"), n + 1, 0, n + 1);
   TH1D left("left", "", n, 0, n), before("before", "", n, 0, n);
   flow.SetDirectory(nullptr), left.SetDirectory(nullptr), before.SetDirectory(nullptr);

   TString cut = "1";
   auto [all, count] = passing(chain, cut, weight);
   auto last = std::make_pair(all, count);
   flow.GetXaxis()->SetBinLabel(1, "all");
   flow.SetBinContent(1, all);
   printf("%-24s %14s %28s %10s\n", "cut", "left", "of the step before", "of all");
   printf("%-24s %14.8g\n", "all", all);
   for (int i = 0; i < n; ++i) {
      if (!understood(chain, steps[i].first, steps[i].second)) return -1;
      cut += " && (" + steps[i].second + ")";
      const auto now = passing(chain, cut, weight);
      const double low = TEfficiency::ClopperPearson(last.second, now.second, 0.682689492, false);
      const double high = TEfficiency::ClopperPearson(last.second, now.second, 0.682689492, true);
      printf("%-24s %14.8g   %7.3f %% [%6.3f, %7.3f] %8.3f %%\n", steps[i].first.Data(), now.first,
             last.first != 0 ? 100 * now.first / last.first : 0.0, 100 * low, 100 * high, 100 * now.first / all);
      flow.GetXaxis()->SetBinLabel(i + 2, steps[i].first);
      flow.SetBinContent(i + 2, now.first);
      left.SetBinContent(i + 1, now.second);
      before.SetBinContent(i + 1, last.second);
      last = now;
   }
   flow.SetEntries(count);
   if (!TString(out).IsNull()) {
      std::unique_ptr<TFile> output(TFile::Open(out, "RECREATE"));
      if (!output || output->IsZombie()) {
         fprintf(stderr, "cutflow: %s cannot be written\n", out);
         return -1;
      }
      TEfficiency efficiency(left, before);
      efficiency.SetDirectory(nullptr);
      efficiency.SetName("cutflow_efficiency");
      efficiency.SetTitle("each cut on what the one before it left;cut;efficiency");
      output->WriteTObject(&flow);
      output->WriteTObject(&efficiency);
      printf("cutflow: written to %s\n", out);
   }
   return last.second;
}
