/*
 * The lists. Short ones for languages other than English and Chinese: they are there to know the
 * language and to keep the commonest words out.
 */
#include "config.h"

#include <stddef.h>

#include "tagger/worker/stop.h"

#include "banned.h"

const struct stop_list stop_lists[STOP_KINDS] = {
	[STOP_EN] =
		{"en",
		 "a able about above across actually after again against all almost alone along "
		 "already also although always am among an and another any anybody anyone "
		 "anything anyway are aren't around as at away back be became because become "
		 "becomes been before behind being below beside besides best better between "
		 "beyond both but by came can can't cannot cause certain certainly come comes "
		 "consider could couldn't did didn't do does doesn't doing don't done down due "
		 "during each either else elsewhere enough especially etc even ever every "
		 "everyone everything everywhere except far few first for former from further "
		 "gave get gets getting give given gives go goes going gone got had hadn't has "
		 "hasn't have haven't having he hence her here hers herself him himself his how "
		 "however i i'd i'll i'm i've ie if in indeed instead into is isn't it it's its "
		 "itself just keep keeps kept know known knows last later latter least less let "
		 "let's like likely made mainly make makes making many may maybe me mean means "
		 "meanwhile might mine more moreover most mostly much must my myself namely near "
		 "nearly need needed needs neither never nevertheless next no nobody none nor "
		 "not nothing now nowhere of off often on once one ones only onto or other others "
		 "otherwise ought our ours ourselves out over own particular perhaps please "
		 "possible put puts quite rather really said same saw say says second see seem "
		 "seemed seems seen several shall she should shouldn't since so some somebody "
		 "somehow someone something sometimes somewhere soon still such sure take taken "
		 "takes tell than that that's the their theirs them themselves then there "
		 "thereby therefore these they thing things think this those though three "
		 "through throughout thus to together too took toward towards tried tries truly "
		 "try trying two under unless unlike until up upon us use used useful uses using "
		 "usually various very via want wants was wasn't way we well went were weren't "
		 "what whatever when whenever where whereas wherever whether which while who "
		 "whoever whole whom whose why will with within without won't would wouldn't yes "
		 "yet you you're you've your yours yourself yourselves"},
	[STOP_ZH] =
		{"zh",
		 "的 了 和 是 在 我 有 就 不 人 都 一 一个 上 也 很 到 说 要 去 你 会 着 没有 看 "
		 "好 "
		 "自己 这 那 这个 那个 他 她 它 他们 她们 它们 我们 你们 咱们 与 及 以及 或 或者 "
		 "而 "
		 "而且 但 但是 因为 所以 如果 虽然 然而 因此 于是 并 并且 对 对于 关于 由 由于 从 "
		 "被 把 将 让 使 给 向 往 比 跟 同 为 为了 以 以上 以下 之 之一 其 其中 其他 其它 "
		 "此 该 这些 那些 这样 那样 这里 那里 什么 怎么 怎样 如何 为什么 哪 哪些 谁 多少 "
		 "几 "
		 "可以 能 能够 可能 应该 应当 必须 需要 已 已经 曾 正在 还 还是 又 再 再次 只 只是 "
		 "仅 才 更 最 太 非常 十分 比较 等 等等 个 种 次 些 一些 一种 每 每个 各 各种 某 "
		 "某些 另 另外 时 时候 之后 之前 以后 以前 中 里 内 外 下 前 后 间 来 用 做 进行 "
		 "通过 根据 按照 作为 具有 存在 不是 就是 也是 都是 还有 只有 所有 任何 一切 许多 "
		 "很多 大家 地 得 吗 呢 吧 啊 嘛 呀 哦 年 月 日 号 第 两 二 三 四 五 六 七 八 九 "
		 "十 "
		 "使用 包括 不同 相关 主要 一般 情况 方面 问题 部分 目前 现在 今天 没 无 不能 "
		 "不会"},
	[STOP_DE] =
		{"de",
		 "aber alle als also am an auch auf aus bei bin bis bist da damit dann das dass "
		 "dein "
		 "dem den denn der des dich die dies diese dieser dieses dir doch dort du durch "
		 "ein "
		 "eine einem einen einer eines er es euer für gegen hat haben hatte hier ich ihm "
		 "ihn "
		 "ihr ihre im in ist ja jede jeder jetzt kann kein keine können man mehr mein mich "
		 "mir mit muss nach nicht noch nun nur ob oder ohne sehr sein seine sich sie sind "
		 "so "
		 "soll über um und uns unser unter vom von vor war waren was weil wenn werden wie "
		 "wieder wir wird wo wurde zu zum zur zwischen"},
	[STOP_FR] =
		{"fr",
		 "ai au aussi autre aux avec avoir car ce cela ces cette comme dans de des donc "
		 "dont "
		 "du elle elles en encore entre est et été être eux fait il ils je la le les leur "
		 "leurs lui mais même mes moi mon ne nos notre nous on ont ou où par pas peut plus "
		 "pour qu que qui sa sans se ses si son sont sous sur ta te tes toi ton tous tout "
		 "très tu un une vos votre vous"},
	[STOP_ES] =
		{"es",
		 "al algo ante antes como con contra cual cuando de del desde donde durante e el "
		 "ella ellas ellos en entre era es esa ese eso esta estas este esto estos está "
		 "están "
		 "fue ha hace han hasta hay la las le les lo los mas me mi mientras muy más ni no "
		 "nos o otra otro para pero poco por porque pues que quien se sea según ser si sin "
		 "sobre son su sus sí también tan te tiene todo todos tu un una uno unos y ya yo"},
	[STOP_IT] =
		{"it",
		 "ad ai al alla alle allo anche avere che chi ci come con contro cui da dal dalla "
		 "degli dei del della delle dello di dove e ed era essere fra gli ha hanno i il in "
		 "io la le lei lo loro lui ma mi mia mio ne nei nel nella noi non nostro o ogni "
		 "per "
		 "perché più quale quando quella quello questa questo sarà se si sia sono sta su "
		 "sua sul sulla suo tra tu tutti tutto un una uno voi"},
	[STOP_PT] =
		{"pt",
		 "a ao aos as até com como da das de dela dele deles depois do dos e ela elas ele "
		 "eles em entre era essa esse esta este eu foi foram há isso isto já lhe mais mas "
		 "me mesmo meu minha muito na nas nem no nos nossa nosso num não nós o os ou para "
		 "pela pelo por quando que quem se sem ser seu sua são só também te tem tu tua um "
		 "uma você vocês é"},
	[STOP_NL] = {"nl", "aan al alles als altijd andere ben bij daar dan dat de der deze die "
			   "dit doch doen "
			   "door dus een en er ge geen haar had heb hebben heeft hem het hier hij "
			   "hoe hun iets "
			   "ik in is ja je kan kon kunnen maar me meer men met mij mijn moet na "
			   "naar niet niets "
			   "nog nu of om omdat onder ons ook op over reeds te tegen toch toen tot "
			   "u uit uw van "
			   "veel voor want waren was wat werd wezen wie wil worden wordt zal ze "
			   "zelf zich zij "
			   "zijn zo zonder zou"},
	[STOP_RU] =
		{"ru",
		 "и в во не что он на я с со как а то все она так его но да ты к у же вы за бы по "
		 "только ее мне было вот от меня еще нет о из ему теперь когда даже ну если уже "
		 "или "
		 "ни быть был него до вас опять вам ведь там потом себя ей они тут где есть для мы "
		 "их чем была сам без чего раз тоже под будет этот того кто этом это эти при об"},
	[STOP_CODE] =
		{NULL,
		 "abstract argc args argv assert async auto await begin bool boolean break byte "
		 "case "
		 "catch char class const constexpr continue default define delete double elif else "
		 "elsif end endif enum eval except exit export extends extern false final finally "
		 "float fmt foreach friend func function goto ifdef ifndef impl implements import "
		 "include inline int interface isset lambda len let local long main my mut "
		 "namespace "
		 "new nil null nullptr object operator package pass print printf private protected "
		 "ptr pub public raise ref register require return self short signed size_t sizeof "
		 "static str strict string struct sub super switch template this throw throws true "
		 "try tuple type typedef typename uint16_t uint32_t uint64_t uint8_t undef union "
		 "unsigned usr var virtual void volatile while yield ssize_t int64_t int32_t bin "
		 "endfor endwhile elseif echo fi esac then ret tmp err res val buf idx arg"},
	[STOP_DULL] =
		{NULL,
		 "added allow allows available based call called case change changed changes check "
		 "code common contains copy create created current data debian default defined "
		 "description different directory directly doc documentation dont end example "
		 "examples file files find fix fixed following follows form found free full "
		 "general "
		 "group handle help high html http https include included includes including info "
		 "information install installed instance large left level line lines list long "
		 "look "
		 "lot main man new name names newer non normal note notes number old older open "
		 "option options order original output package page part parts pass path patch "
		 "place point print problem provide provided provides reason release remove "
		 "removed "
		 "replace required result results return returns right run running section "
		 "separate "
		 "set sets setting show similar simple single size small source special specific "
		 "specified standard start state step stop string support supported switch system "
		 "table test tests text thank thanks time times title true type types update "
		 "updated "
		 "upstream user users usr valid value values version view work working works write "
		 "written year years zero copyright license licensed permission rights reserved"},
};
